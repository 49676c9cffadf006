"""No training graph contains a function that NNabla computes wrongly on Hopper GPUs."""

import nnabla as nn
import nnabla.functions as F
import nnabla.parametric_functions as PF
import pytest

from engine.training import gpu_check, gpu_check_child
from support.broken_on_hopper import broken_on_hopper
from support.gpu_check_specs import loss_of, loss_of_tasks

LOSSES = {
    'default': {},
    'ohem': {'loss': 'ohem'},
    'dice': {'dice_weight': 0.5},
    'lovasz': {'lovasz_weight': 0.5},
    'smoothing': {'label_smoothing': 0.1},
    'class weights': {'class_weights': [1.0, 2.0, 0.5, 1.0, 1.0]},
    'at the logits': {'loss_at': 'logits', 'loss_mean': 'all'},
}


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
def test_the_table_of_broken_functions(build, broken):
    """Both broken and correct functions as they were measured, with inputs of that size."""
    specs, _ = gpu_check.collect_functions(build(nn.Variable((2, 16, 64, 128), need_grad=True)))
    found = [text for spec in specs if (text := broken_on_hopper(spec))]
    assert found == ([broken] if broken else [])


@pytest.mark.parametrize('frozen', [{}, {'freeze_statistics': True}, {'frozen': ('backbone/*',)}])
@pytest.mark.parametrize('case', LOSSES)
def test_no_loss_uses_a_broken_function(case, frozen):
    assert_unbroken(loss_of(LOSSES[case], **frozen))


@pytest.mark.parametrize('policy', ['bn_relu', 'convolution', 'blocks'])
@pytest.mark.parametrize('channel_last', [False, True])
def test_no_recompute_policy_uses_a_broken_function(policy, channel_last):
    assert_unbroken(loss_of(recompute=policy, channel_last=channel_last))


@pytest.mark.parametrize('config', [{}, {'depth_silog_root': True, 'loss_at': 'logits'}])
def test_no_loss_of_several_tasks_uses_a_broken_function(config):
    assert_unbroken(loss_of_tasks(**config))


def assert_unbroken(loss):
    """Check every function of a graph, not one of each kind."""
    functions = []
    loss.visit(functions.append)
    known = [f for f in functions if gpu_check_child.function_of(f.info.type_name)]
    specs = [gpu_check.spec_of(function, trained=True) for function in known]
    assert len(specs) > 50
    assert [text for spec in specs if (text := broken_on_hopper(spec))] == []
