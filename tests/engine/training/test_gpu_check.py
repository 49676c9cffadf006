"""The comparison of NNabla's functions before a training, with the CPU instead of a GPU."""

import logging
from dataclasses import replace

import nnabla as nn
import nnabla.functions as F
import nnabla.parametric_functions as PF
import numpy as np
import pytest

from common.errors import UserError
from engine.device.context import DeviceChoice
from engine.distributed.processes import Processes
from engine.training import gpu_check, gpu_check_child, plan
from engine.training.gpu_check_child import FunctionSpec
from engine.training.optimizer import SolverKeys
from layers import functions as L
from support import train_runs
from support.gpu_check_specs import CONVOLUTION, convolution, loss_of, loss_of_tasks

data = train_runs.data
CPU, GPU = DeviceChoice('cpu', 'float'), DeviceChoice('cudnn', 'half')
# Without a communicator, this function kills the process on the CPU.
DEADLY = FunctionSpec(
    'SyncBatchNormalization',
    {'comm': None, 'group': 'world'},
    [[1, 8, 6, 5], *[[1, 8, 1, 1]] * 4],
    ['normal'] * 4 + ['positive'],
    [True] * 3 + [False] * 2,
)


def test_training_graphs_agree_on_equal_devices_and_keep_their_parameters():
    """The graphs of all recompute policies; functions that they share are compared once."""
    everything = {'loss': 'ohem', 'dice_weight': 0.5, 'label_smoothing': 0.1}
    gpu_check.require_agreement(
        loss_of(everything), CPU, SolverKeys(clip_norm=2.0, ema_decay=0.9), Processes()
    )
    before = {name: p.d.copy() for name, p in nn.get_parameters(grad_only=False).items()}
    known, specs = gpu_check.collect_functions(loss_of(everything))[0], []
    for policy in ('bn_relu', 'convolution', 'blocks'):
        found, _ = gpu_check.collect_functions(loss_of(everything, recompute=policy))
        specs += [spec for spec in found if spec not in [*known, *specs]]
    assert gpu_check.find_mismatches(specs, CPU) == []
    for name, parameter in nn.get_parameters(grad_only=False).items():
        assert np.array_equal(parameter.d, before[name])


def test_the_functions_of_several_tasks_agree_on_equal_devices():
    specs, skipped = gpu_check.collect_functions(loss_of_tasks(depth_silog_root=True))
    assert skipped == {'PassMean': 'it is computed in Python'}
    assert {'HuberLoss', 'Log', 'MinimumScalar', 'PowScalar'} <= {spec.type for spec in specs}
    assert gpu_check.find_mismatches(specs, CPU) == []


def test_the_smallest_function_of_each_kind_is_compared():
    x = nn.Variable((2, 4, 16, 16))
    y = PF.convolution(x, 4, (3, 3), pad=(1, 1), name='a')
    y = F.average_pooling(F.relu(y), (2, 2))
    y = PF.convolution(y, 4, (3, 3), pad=(1, 1), name='b')
    y = PF.convolution(y, 4, (3, 3), pad=(1, 1), name='c', fix_parameters=True)
    y = PF.convolution(y, 4, (3, 3), pad=(2, 2), dilation=(2, 2), name='d')
    specs, skipped = gpu_check.collect_functions(L.mean_all(F.relu(y)))
    found = [(s.shapes[0], s.gradients) for s in specs if s.type == 'Convolution']
    small = [2, 4, 8, 8]
    assert found == [
        ([2, 4, 16, 16], [False, True, True]),  # the image has no gradient
        (small, [True, True, True]),
        (small, [True, False, False]),
        (small, [True, True, True]),
    ]
    assert [s.shapes[0] for s in specs if s.type == 'ReLU'] == [small]
    assert not skipped


def test_the_largest_reduction_is_compared():
    x = nn.Variable((2, 3, 8, 8), need_grad=True)
    small, wide = F.slice(x, stop=(2, 3, 4, 4)), F.concatenate(x, x, x, x, axis=1)
    sums = [F.sum(y, axis=(2, 3)) for y in (small, x, wide)]
    specs, _ = gpu_check.collect_functions(F.concatenate(*sums, axis=1))
    assert [s.shapes[0] for s in specs if s.type == 'Sum'] == [[2, 3, 8, 8]]


def test_functions_without_gradient_are_compared_forward_only():
    """OHEM sorts probabilities, which have no gradient."""
    specs, _ = gpu_check.collect_functions(loss_of({'loss': 'ohem'}))
    (sort,) = [spec for spec in specs if spec.type == 'Sort']
    assert sort.gradients == [False]
    assert [s.gradients for s in specs if s.type == 'SoftmaxCrossEntropy'] == [[True, False]]


def test_half_precision_is_read_from_the_context():
    half = nn.Context(['cpu:half', 'cpu:float'], 'CpuCachedArray', '0')
    with nn.context_scope(half):
        y = F.relu(nn.Variable((2, 3), need_grad=True))
    specs, _ = gpu_check.collect_functions(L.mean_all(y))
    assert [(spec.type, spec.half) for spec in specs if spec.type in ('ReLU', 'Mean')] == [
        ('ReLU', True),
        ('Mean', False),
    ]


UPDATE_KEYS = SolverKeys(clip_norm=1.0, ema_decay=0.9, weight_decay=0.01, solver='adam')
SCALED = FunctionSpec(  # its forward pass is the identity
    'ClipGradByNorm', {'clip_norm': 0.1, 'axes': [0]}, [[3, 4]], ['normal'], [True]
)
COMPARED = {
    'right': convolution(),
    'kills': DEADLY,
    'right after a death': convolution(),
    'kills again': replace(DEADLY),
    'wrong': convolution(reference={'pad': [2, 2], 'dilation': [2, 2]}),
    'fails': convolution(arguments={**CONVOLUTION, 'group': 3}),
    'right after a failure': convolution(),
    'right gradient': SCALED,
    'wrong gradient': replace(SCALED, reference={'clip_norm': 0.2}),
    'dropout': FunctionSpec('Dropout', {'p': 0.5, 'seed': -1}, [[100]], ['normal'], [True]),
    **{spec.type: spec for spec in gpu_check.collect_updates(UPDATE_KEYS)},
    **{
        f'wrong {spec.type}': replace(
            spec, reference={'clip_norm': 2.0, 'ema_decay': 0.05, 'weight_decay': 0.5}
        )
        for spec in gpu_check.collect_updates(UPDATE_KEYS)
        if spec.type != 'look for overflow'
    },
    'only on the GPU': convolution(reference={'group': 3}),
}


@pytest.fixture(scope='module')
def compared():
    """The mismatches of ``COMPARED`` by name, from one comparison of all of them."""
    found = gpu_check.find_mismatches(list(COMPARED.values()), CPU)
    names = {id(spec): name for name, spec in COMPARED.items()}
    assert len({id(mismatch.spec) for mismatch in found}) == len(found)
    return {names[id(mismatch.spec)]: mismatch for mismatch in found}


def test_functions_that_agree_are_no_mismatches(compared):
    """Functions after one that kills the process or fails are compared as well."""
    right = ('right', 'right after a death', 'right after a failure', 'right gradient')
    assert not compared.keys() & {*right, 'dropout', *gpu_check_child.UPDATES}


def test_a_function_that_kills_the_process_is_named(compared):
    for name in ('kills', 'kills again'):
        assert str(compared[name]) == (
            "NNabla's SyncBatchNormalization (forward) ends the process (SIGSEGV)"
        )


def test_a_function_that_fails_is_named(compared):
    """The CUDA extension reports an illegal instruction as an error of a later call."""
    text = "NNabla's Convolution (forward) fails: Failed `channels_i_mod"
    assert str(compared['fails']).startswith(text)


def test_wrong_results_and_gradients_are_named(compared):
    assert str(compared['wrong']) == "NNabla's Convolution (forward) gives wrong numbers"
    text = "NNabla's ClipGradByNorm (backward) gives wrong numbers"
    assert str(compared['wrong gradient']) == text


@pytest.mark.parametrize(
    'update', [name for name in gpu_check_child.UPDATES if name != 'look for overflow']
)
def test_wrong_updates_of_the_weights_are_named(update, compared):
    assert str(compared[f'wrong {update}']) == f"NNabla's {update} gives wrong numbers"


def test_a_function_that_only_the_gpu_supports_is_not_a_mismatch(compared):
    """The reference side cannot compute it, as if the CPU lacked the function."""
    assert compared['only on the GPU'].part == gpu_check_child.REFERENCE


def test_a_function_that_hangs_is_named_after_the_timeout():
    slow = convolution(shapes=[[1, 256, 128, 128], [512, 256, 3, 3]])
    findings = gpu_check.find_mismatches([convolution(), slow, convolution()], CPU, timeout=3)
    assert len(findings) == 1
    assert findings[0].problem == 'takes more than 3 seconds'


@pytest.fixture
def findings(monkeypatch):
    """The mismatches that a comparison with a GPU returns."""
    found = []
    monkeypatch.setattr(gpu_check, 'find_mismatches', lambda specs, choice, on_progress: found)
    return found


def test_agreement_is_logged(findings, caplog):
    caplog.set_level(logging.INFO)
    gpu_check.require_agreement(loss_of({'lovasz_weight': 1.0}), GPU, SolverKeys(), Processes())
    count, skipped = caplog.messages
    assert count.endswith(' functions agree with the CPU')
    assert skipped == 'LovaszSoftmax is not compared: it is computed in Python'


def test_the_error_names_functions_and_remedies(findings):
    sort = FunctionSpec('Sort', {}, [[1, 4]], ['distinct'], [False])
    clip = FunctionSpec('clipping of gradients', {}, [])
    findings += [
        gpu_check.Mismatch(sort, 'forward', 'ends the process (SIGABRT)'),
        gpu_check.Mismatch(clip, 'forward', 'gives wrong numbers'),
        gpu_check.Mismatch(convolution(half=True), 'backward', 'gives wrong numbers'),
        gpu_check.Mismatch(convolution(), 'on the CPU', 'fails: too large'),
    ]
    with pytest.raises(UserError) as error:
        gpu_check.require_agreement(loss_of(), GPU, SolverKeys(), Processes())
    assert str(error.value) == (
        "NNabla's Sort (forward) ends the process (SIGABRT); "
        "NNabla's clipping of gradients gives wrong numbers; "
        "NNabla's Convolution (backward) gives wrong numbers on this GPU; train with -c cpu, or "
        'without loss: ohem, clip_norm, -t half; --skip-self-check trains nevertheless'
    )
    del findings[:3]
    gpu_check.require_agreement(loss_of(), GPU, SolverKeys(), Processes())


def test_progress_is_reported_for_each_function():
    reports = []
    assert (
        gpu_check.find_mismatches(
            [convolution(), *gpu_check.collect_updates(SolverKeys())],
            CPU,
            on_progress=reports.append,
        )
        == []
    )
    functions = ['Convolution', 'update of the weights', 'look for overflow']
    assert list(dict.fromkeys(reports)) == [f'the self-check of {name}' for name in functions]


def test_a_process_that_cannot_start_is_explained():
    with pytest.raises(UserError, match='^the self-check does not start: .*cudnn'):
        gpu_check.find_mismatches([convolution()], GPU)


def test_a_process_that_does_not_read_its_input(monkeypatch):
    """The job exceeds the buffer of a pipe."""
    monkeypatch.setattr(gpu_check.sys, 'executable', '/bin/false')
    with pytest.raises(UserError, match=r'^the self-check does not start: .*\(status 1\)'):
        gpu_check.find_mismatches([convolution()] * 1000, CPU)


@pytest.mark.parametrize('options', [(), ('--skip-self-check',)])
def test_a_training_on_a_gpu_starts_with_the_check(
    options, findings, data, tmp_path, monkeypatch, capsys
):
    """The CPU stands in for the GPU."""
    monkeypatch.setattr(plan.context, 'use', lambda *a, **k: DeviceChoice('cudnn', 'float'))
    findings.append(gpu_check.Mismatch(convolution(), 'forward', 'gives wrong numbers'))
    training_run = train_runs.Training(data, tmp_path, *options, '--no-validation', max_iter=2)
    if options:
        training_run.whole('run')
    else:
        assert 'Convolution (forward) gives wrong' in training_run.refused(capsys, 'run')
