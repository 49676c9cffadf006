"""The comparison with the CPU before a training, with the CPU in the place of the GPU."""

import logging

import nnabla as nn
import nnabla.functions as F
import nnabla.parametric_functions as PF
import numpy as np
import pytest

from common.errors import UserError
from engine.device.context import DeviceChoice
from engine.distributed.processes import Processes
from engine.training import gpu_check, gpu_check_child, losses, plan
from engine.training.gpu_check_child import Spec
from engine.training.optimizer import SolverKeys
from layers import functions as L
from support import stand_ins, train_runs
from support.broken_on_hopper import broken_on_hopper

data = train_runs.data
CPU, GPU = DeviceChoice('cpu', 'float'), DeviceChoice('cudnn', 'half')
SIZE = (64, 96)
CONVOLUTION = {
    'base_axis': 1,
    'pad': [1, 1],
    'stride': [1, 1],
    'dilation': [1, 1],
    'group': 1,
    'channel_last': False,
}
# Without a communicator, this one ends the process on the CPU.
DEADLY = Spec(
    'SyncBatchNormalization',
    {'comm': None, 'group': 'world'},
    [[1, 8, 6, 5], *[[1, 8, 1, 1]] * 4],
    ['normal'] * 4 + ['positive'],
    [True] * 3 + [False] * 2,
)
LOSSES = {
    'default': {},
    'ohem': {'loss': 'ohem'},
    'dice': {'dice_weight': 0.5},
    'lovasz': {'lovasz_weight': 0.5},
    'smoothing': {'label_smoothing': 0.1},
    'class weights': {'class_weights': [1.0, 2.0, 0.5, 1.0, 1.0]},
    'at the logits': {'loss_at': 'logits', 'loss_mean': 'all'},
}


def convolution(**changes):
    fields = {
        'type': 'Convolution',
        'arguments': CONVOLUTION,
        'shapes': [[2, 4, 6, 7], [4, 4, 3, 3]],
        'values': ['normal', 'normal'],
        'gradients': [True, True],
    }
    return Spec(**{**fields, **changes})


def loss_of(config=None, **build):
    """D3Net's training graph in the form for GPUs, with an auxiliary head of its logits."""
    outputs = stand_ins.tiny()(nn.Variable((2, 3, *SIZE)), train=True, **{'cuda': True, **build})
    auxiliary = L.average_pool(outputs[0], 2, L.Build())
    return losses.create(config or {}, 5).build([*outputs, auxiliary], SIZE).loss


def said(findings):
    return [str(finding) for finding in findings]


@pytest.mark.parametrize('policy', ('none', 'bn_relu', 'convolution', 'blocks'))
def test_a_training_graph_agrees_with_itself(policy):
    everything = {'loss': 'ohem', 'dice_weight': 0.5, 'label_smoothing': 0.1}
    loss = loss_of(everything, recompute=policy)
    gpu_check.require(loss, CPU, SolverKeys(clip_norm=2.0, ema_decay=0.9), Processes())


def test_the_graph_is_not_computed_by_looking_at_it():
    loss = loss_of()
    before = {name: p.d.copy() for name, p in nn.get_parameters(grad_only=False).items()}
    gpu_check.require(loss, CPU, SolverKeys(), Processes())
    for name, parameter in nn.get_parameters(grad_only=False).items():
        assert np.array_equal(parameter.d, before[name])


def test_one_of_each_kind_with_the_smallest_inputs():
    x = nn.Variable((2, 4, 16, 16))
    y = PF.convolution(x, 4, (3, 3), pad=(1, 1), name='a')
    y = F.average_pooling(F.relu(y), (2, 2))
    y = PF.convolution(y, 4, (3, 3), pad=(1, 1), name='b')
    y = PF.convolution(y, 4, (3, 3), pad=(1, 1), name='c', fix_parameters=True)
    y = PF.convolution(y, 4, (3, 3), pad=(2, 2), dilation=(2, 2), name='d')
    specs, skipped = gpu_check.collect(L.mean_all(F.relu(y)))
    found = [(s.shapes[0], s.gradients) for s in specs if s.type == 'Convolution']
    small = [2, 4, 8, 8]
    assert found == [
        ([2, 4, 16, 16], [False, True, True]),  # the image takes no gradient
        (small, [True, True, True]),
        (small, [True, False, False]),
        (small, [True, True, True]),
    ]
    assert [s.shapes[0] for s in specs if s.type == 'ReLU'] == [small]
    assert not skipped


def test_of_reductions_the_one_that_reduces_most():
    x = nn.Variable((2, 3, 8, 8), need_grad=True)
    small, wide = F.slice(x, stop=(2, 3, 4, 4)), F.concatenate(x, x, x, x, axis=1)
    sums = [F.sum(y, axis=(2, 3)) for y in (small, x, wide)]
    specs, _ = gpu_check.collect(F.concatenate(*sums, axis=1))
    assert [s.shapes[0] for s in specs if s.type == 'Sum'] == [[2, 3, 8, 8]]


def test_what_is_not_trained_has_no_backward_pass():
    """OHEM sorts probabilities, through which nothing flows back."""
    specs, _ = gpu_check.collect(loss_of({'loss': 'ohem'}))
    (sort,) = [spec for spec in specs if spec.type == 'Sort']
    assert sort.gradients == [False]
    assert [s.gradients for s in specs if s.type == 'SoftmaxCrossEntropy'] == [[True, False]]


def test_half_precision_is_told_by_the_context():
    half = nn.Context(['cpu:half', 'cpu:float'], 'CpuCachedArray', '0')
    with nn.context_scope(half):
        y = F.relu(nn.Variable((2, 3), need_grad=True))
    specs, _ = gpu_check.collect(L.mean_all(y))
    assert [(spec.type, spec.half) for spec in specs if spec.type in ('ReLU', 'Mean')] == [
        ('ReLU', True),
        ('Mean', False),
    ]


def test_one_that_ends_the_process_is_named_and_the_rest_is_compared():
    wrong = convolution(reference={'pad': [2, 2], 'dilation': [2, 2]})
    specs = [convolution(), DEADLY, convolution(), DEADLY, wrong, convolution()]
    assert said(gpu_check.examine(specs, CPU)) == [
        "NNabla's SyncBatchNormalization (forward) ends the process (SIGSEGV)",
        "NNabla's SyncBatchNormalization (forward) ends the process (SIGSEGV)",
        "NNabla's Convolution (forward) gives wrong numbers",
    ]


def test_an_error_is_named_and_the_rest_is_compared():
    """As the CUDA extension reports an illegal instruction, in whichever function asks next."""
    impossible = convolution(arguments={**CONVOLUTION, 'group': 3})
    (finding,) = gpu_check.examine([impossible, convolution()], CPU)
    assert str(finding).startswith("NNabla's Convolution (forward) fails: Failed `channels_i_mod")


def test_a_wrong_gradient_is_named():
    """Forward, this one changes nothing."""
    scaled = Spec('ClipGradByNorm', {'clip_norm': 0.1, 'axes': [0]}, [[3, 4]], ['normal'], [True])
    wrong = Spec(**{**vars(scaled), 'reference': {'clip_norm': 0.2}})
    assert gpu_check.examine([scaled], CPU) == []
    assert said(gpu_check.examine([wrong], CPU)) == [
        "NNabla's ClipGradByNorm (backward) gives wrong numbers"
    ]


@pytest.mark.parametrize('used', gpu_check_child.UPDATES)
def test_updates_of_the_weights(used):
    keys = SolverKeys(clip_norm=1.0, ema_decay=0.9, weight_decay=0.01, solver='adam')
    (spec,) = [s for s in gpu_check.updates(keys) if s.type == used]
    assert gpu_check.examine([spec], CPU) == []
    other = {'clip_norm': 2.0, 'ema_decay': 0.05, 'weight_decay': 0.5}
    if used != 'look for overflow':
        wrong = Spec(**{**vars(spec), 'reference': other})
        assert said(gpu_check.examine([wrong], CPU)) == [f"NNabla's {used} gives wrong numbers"]


def test_the_search_for_overflow_finds_it():
    parameter = nn.Variable((3,), need_grad=True)
    parameter.d, parameter.g = 0, 0
    (found,) = gpu_check_child.UPDATES['look for overflow']({'p': parameter}, SolverKeys())
    assert found.tolist() == [0, 1, 1]


def test_a_function_that_hangs_ends_after_a_time():
    slow = convolution(shapes=[[1, 256, 128, 128], [512, 256, 3, 3]])
    findings = gpu_check.examine([convolution(), slow, convolution()], CPU, limit=3)
    assert len(findings) == 1
    assert findings[0].problem == 'takes more than 3 seconds'


@pytest.mark.parametrize(
    'spec',
    [
        convolution(arguments={**CONVOLUTION, 'pad': [0, 1], 'dilation': [1, 2]}),
        Spec(
            'MaxPooling',
            {'kernel': [2, 3], 'stride': [2, 3], 'ignore_border': True, 'pad': [0, 0]},
            [[2, 4, 6, 9]],
            ['distinct'],
            [True],
        ),
    ],
)
def test_channel_last_is_compared_with_channel_first(spec):
    """The CPU has no channel_last, so both forms are written out here and compared by hand."""
    ctx, quiet = nn.get_current_context(), lambda part: None
    shapes = [[shape[0], *shape[2:], shape[1]] for shape in spec.shapes]
    arguments = {**spec.arguments, 'channel_last': True}
    last = Spec(**{**vars(spec), 'shapes': shapes, 'arguments': arguments})
    first = {**arguments, 'channel_last': False}
    found = gpu_check_child.run_function(last, ctx, first, quiet)

    rng = np.random.RandomState(0)
    inputs = []
    for values, shape in zip(last.values, last.shapes):
        array = gpu_check_child.make_input(values, shape, False, rng)
        inputs.append(nn.Variable.from_numpy_array(array, need_grad=True))
    y = gpu_check_child.function_of(spec.type)(
        *(F.transpose(x, (0, 3, 1, 2)) for x in inputs), **first
    )
    y = F.transpose(y, (0, 2, 3, 1))
    y.forward()
    gradient = rng.normal(0, 0.1, y.shape).astype(np.float16).astype(np.float32)
    for x in inputs:
        x.g = 0
    y.backward(gradient)
    np.testing.assert_allclose(found['forward'][0], y.d, rtol=1e-5, atol=1e-6)
    for mine, x in zip(found['backward'], inputs):
        np.testing.assert_allclose(mine, x.g, rtol=1e-4, atol=1e-5)


def test_what_only_the_gpu_can_is_not_held_against_it(caplog):
    """Here the other side cannot compute it, as where the CPU lacks a function."""
    impossible = convolution(reference={'group': 3})
    (finding,) = gpu_check.examine([impossible], CPU)
    assert finding.part == gpu_check_child.REFERENCE


def test_dropout_has_to_run_only():
    spec = Spec('Dropout', {'p': 0.5, 'seed': -1}, [[100]], ['normal'], [True])
    assert gpu_check.examine([spec], CPU) == []


@pytest.mark.parametrize('values', ['normal', 'positive', 'distinct', 'labels:5'])
def test_inputs_are_exact_in_half_precision(values):
    array = gpu_check_child.make_input(values, (2, 1000), True, np.random.RandomState(0))
    assert values == 'distinct' or np.array_equal(array, array.astype(np.float16))
    if values == 'distinct':
        assert len(np.unique(array.astype(np.float16))) == array.size
    if values == 'labels:5':
        assert set(array.ravel()) == {-1, 0, 1, 2, 3, 4}


# What a training makes of it


@pytest.fixture
def findings(monkeypatch):
    """What the comparison with a GPU finds."""
    found = []
    monkeypatch.setattr(gpu_check, 'examine', lambda specs, choice, moved: found)
    return found


def test_agreement_is_logged(findings, caplog):
    caplog.set_level(logging.INFO)
    gpu_check.require(loss_of({'lovasz_weight': 1.0}), GPU, SolverKeys(), Processes())
    count, skipped = caplog.messages
    assert count.endswith(' functions agree with the CPU')
    assert skipped == 'LovaszSoftmax is not compared: it is computed in Python'


def test_what_is_broken_ends_with_what_to_do(findings):
    sort = Spec('Sort', {}, [[1, 4]], ['distinct'], [False])
    clip = Spec('clipping of gradients', {}, [])
    findings += [
        gpu_check.Finding(sort, 'forward', 'ends the process (SIGABRT)'),
        gpu_check.Finding(clip, 'forward', 'gives wrong numbers'),
        gpu_check.Finding(convolution(half=True), 'backward', 'gives wrong numbers'),
        gpu_check.Finding(convolution(), 'on the CPU', 'fails: too large'),
    ]
    with pytest.raises(UserError) as error:
        gpu_check.require(loss_of(), GPU, SolverKeys(), Processes())
    assert str(error.value) == (
        "NNabla's Sort (forward) ends the process (SIGABRT); "
        "NNabla's clipping of gradients gives wrong numbers; "
        "NNabla's Convolution (backward) gives wrong numbers on this GPU; train with -c cpu, or "
        'without loss: ohem, clip_norm, -t half; --skip-self-check trains all the same'
    )
    del findings[:3]
    gpu_check.require(loss_of(), GPU, SolverKeys(), Processes())


def test_progress_is_told_function_by_function():
    told = []
    assert (
        gpu_check.examine([convolution(), *gpu_check.updates(SolverKeys())], CPU, moved=told.append)
        == []
    )
    functions = ['Convolution', 'update of the weights', 'look for overflow']
    assert list(dict.fromkeys(told)) == [f'the self-check of {name}' for name in functions]


def test_a_process_that_cannot_start_says_why():
    with pytest.raises(UserError, match='^the self-check does not start: .*cudnn'):
        gpu_check.examine([convolution()], GPU)


def test_a_process_that_does_not_even_listen(monkeypatch):
    """The job is larger than what a pipe holds."""
    monkeypatch.setattr(gpu_check.sys, 'executable', '/bin/false')
    with pytest.raises(UserError, match=r'^the self-check does not start: .*\(status 1\)'):
        gpu_check.examine([convolution()] * 1000, CPU)


@pytest.mark.parametrize('options', [(), ('--skip-self-check',)])
def test_training_on_a_gpu_begins_with_it(options, findings, data, tmp_path, monkeypatch, capsys):
    """The CPU stands for the GPU."""
    monkeypatch.setattr(plan.context, 'use', lambda *a, **k: DeviceChoice('cudnn', 'float'))
    findings.append(gpu_check.Finding(convolution(), 'forward', 'gives wrong numbers'))
    training_run = train_runs.Training(data, tmp_path, *options, '--no-validation', max_iter=2)
    if options:
        training_run.whole('run')
    else:
        assert 'Convolution (forward) gives wrong' in training_run.refused(capsys, 'run')


# What is known to be broken on Hopper GPUs


@pytest.mark.parametrize(
    ('build', 'broken'),
    [
        (lambda x: F.mean(x), 'long means'),
        (lambda x: F.sum(x), 'sums and maxima'),
        (lambda x: F.sum(x, axis=(2, 3)), 'sums and maxima'),
        (lambda x: F.max(x, axis=-1), 'sums and maxima'),
        (lambda x: F.top_k_data(x, 3), 'top-k'),
        (lambda x: PF.depthwise_convolution(x, (3, 3)), 'depthwise convolution'),
        (lambda x: F.layer_normalization(x, None, None), 'layer and instance norm'),
        (lambda x: F.instance_normalization(x, None, None), 'layer and instance norm'),
        (lambda x: PF.prelu(x), 'prelu'),
        (lambda x: F.clip_grad_by_norm(x, 1.0), 'clipping by norm'),
        (lambda x: PF.batch_normalization(x, batch_stat=False), 'fixed batch norm'),
        (lambda x: PF.fused_batch_normalization(x, batch_stat=False), 'fixed batch norm'),
        (lambda x: F.mean(x, axis=1), None),
        (lambda x: F.mean(x, axis=(2, 3)), None),
        (lambda x: F.sum(x, axis=1), None),
        (lambda x: F.max(x, axis=1), None),
        (lambda x: PF.batch_normalization(x), None),
        (lambda x: PF.batch_normalization(x, batch_stat=False, fix_parameters=True), None),
        (lambda x: PF.convolution(x, 16, (3, 3), group=16), None),
        (lambda x: F.sort(x), None),
    ],
)
def test_the_table_of_what_is_broken(build, broken):
    """Both columns of what was measured, on inputs of that size."""
    specs, _ = gpu_check.collect(build(nn.Variable((2, 16, 64, 128), need_grad=True)))
    found = [text for spec in specs if (text := broken_on_hopper(spec))]
    assert found == ([broken] if broken else [])


@pytest.mark.parametrize('frozen', [{}, {'freeze_statistics': True}, {'frozen': ('backbone/*',)}])
@pytest.mark.parametrize('case', LOSSES)
def test_no_training_graph_has_what_is_broken_on_hopper(case, frozen):
    assert_unbroken(loss_of(LOSSES[case], **frozen))


@pytest.mark.parametrize('policy', ['bn_relu', 'convolution', 'blocks'])
@pytest.mark.parametrize('channel_last', [False, True])
def test_nor_have_the_policies(policy, channel_last):
    assert_unbroken(loss_of(recompute=policy, channel_last=channel_last))


def assert_unbroken(loss):
    """Of every single function, not of one of a kind."""
    functions = []
    loss.visit(functions.append)
    known = [f for f in functions if gpu_check_child.function_of(f.info.type_name)]
    specs = [gpu_check.spec_of(function, trained=True) for function in known]
    assert len(specs) > 50
    assert [text for spec in specs if (text := broken_on_hopper(spec))] == []
