"""The losses of depths against golden values of the original, and against NumPy in float64."""

import json
from dataclasses import dataclass

import nnabla as nn
import nnabla.functions as F
import numpy as np
import pytest

from common.errors import UserError
from common.sections import Section, config_key
from engine.training import losses
from engine.training.losses import registry
from support import expected_depth
from support.expected_depth import ALL, EXACT, compute, expected_loss, random_depths


@pytest.fixture(scope='module')
def golden(shared):
    """The original's losses of depths, their inputs and their values."""
    return json.loads((shared / 'reference_tasks' / 'losses_metrics.json').read_text())['depth']


PARTS = {
    'supervised_loss': {'depth_l1_weight': 1.0},
    'scale_loss': {'depth_scale_weight': 1.0},
    'supervised_error_var': {'depth_variance_weight': 1.0},
}


@pytest.mark.parametrize('name', PARTS)
def test_parts_and_their_gradients_equal_the_original(name, golden):
    prediction, metres = expected_depth.golden_inputs(golden)
    known = golden['values'][name]
    loss, gradient = compute(expected_depth.only(**PARTS[name]), prediction, metres)
    assert loss == pytest.approx(known['value_float64'], rel=2e-6)
    assert np.linalg.norm(gradient) == pytest.approx(known['gradient_l2_float64'], rel=1e-5)
    first = known['gradient_first4_float64']
    assert gradient.ravel()[:4] == pytest.approx(first, rel=1e-4, abs=1e-8)


def test_the_default_is_the_loss_of_the_original_script(golden):
    loss, _ = compute({}, *expected_depth.golden_inputs(golden))
    assert loss == pytest.approx(golden['recipe_total_float64']['value'], rel=2e-6)


@pytest.mark.parametrize('case', ALL)
def test_loss_and_gradient_equal_their_definition(case):
    prediction, metres = random_depths((5, 7), batch=3)
    loss, gradient = compute(ALL[case], prediction, metres)
    assert loss == pytest.approx(expected_loss(prediction, metres, ALL[case]), rel=1e-5)
    expected = expected_depth.expected_gradient(prediction, metres, ALL[case])
    assert gradient == pytest.approx(expected, rel=1e-3, abs=2e-6)


@pytest.mark.parametrize('case', EXACT)
def test_micro_batches_sum_to_the_batch(case):
    """One image is unknown entirely."""
    prediction, metres = random_depths((5, 7), batch=4)
    metres[1] = 0
    whole, gradient = compute(ALL[case], prediction, metres)
    for batches in ([1, 3], [1, 1, 2]):
        loss, found = compute(ALL[case], prediction, metres, batches)
        assert loss == pytest.approx(whole, rel=1e-6)
        assert found == pytest.approx(gradient, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize('case', ALL)
@pytest.mark.parametrize('batches', ([1, 3], [1, 1, 2]))
def test_processes_sum_to_one_process(case, batches):
    """Threads are the processes; one has no known pixel."""
    prediction, metres = random_depths((5, 7), batch=4)
    metres[0] = 0
    whole, gradient = compute(ALL[case], prediction, metres)
    loss, found = expected_depth.compute_in_threads(ALL[case], prediction, metres, batches)
    assert loss == pytest.approx(whole, rel=2e-6)
    assert found == pytest.approx(gradient, rel=2e-5, abs=1e-7)


@pytest.mark.parametrize('case', ('scale', 'variance', 'default'))
def test_losses_of_the_pass_are_weighted_by_the_known_pixels_of_each_pass(case):
    prediction, metres = random_depths((5, 7), batch=4)
    loss, gradient = compute(ALL[case], prediction, metres, [1, 3])
    expected = 0.0
    for share in (slice(0, 1), slice(1, 4)):
        weight = (metres[share] > 0).sum() / (metres > 0).sum()
        alone = compute(ALL[case], prediction[share], metres[share])
        expected += weight * alone[0]
        assert gradient[share] == pytest.approx(weight * alone[1], rel=1e-4, abs=1e-8)
    assert loss == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize('case', ALL)
@pytest.mark.parametrize('batches', ([2], [1, 1]))
def test_unknown_depths_have_no_loss_and_gradient(case, batches):
    prediction, metres = random_depths((4, 5))
    loss, gradient = compute(ALL[case], prediction, np.zeros_like(metres), batches)
    assert loss == 0
    assert not gradient.any()


@pytest.mark.parametrize('case', ALL)
def test_a_single_known_pixel(case):
    prediction, metres = random_depths((4, 5))
    metres.ravel()[1:] = 0
    metres[0, 0, 0, 0] = 12.5
    loss, gradient = compute(ALL[case], prediction, metres)
    assert loss == pytest.approx(expected_loss(prediction, metres, ALL[case]), rel=1e-5, abs=1e-7)
    assert np.isfinite(gradient).all()
    assert not gradient.ravel()[1:].any()


def test_a_negative_prediction_has_a_finite_logarithmic_loss_that_pulls_it_up():
    prediction, metres = random_depths((4, 5))
    prediction[0, 0, 0, :3] = -1, 0, 0.05
    metres[0, 0, 0, :3] = 10
    case = expected_depth.only(depth_silog_weight=1.0)
    loss, gradient = compute(case, prediction, metres)
    assert loss == pytest.approx(expected_loss(prediction, metres, case), rel=1e-5)
    assert (gradient[0, 0, 0, :3] < 0).all()


def test_a_prediction_of_another_resolution():
    prediction, _ = random_depths((3, 4))
    metres = random_depths((6, 8))[1]
    at_input, gradient = compute({}, prediction, metres)
    assert gradient.shape == prediction.shape
    at_logits, _ = compute({'loss_at': 'logits'}, prediction, metres)
    expected = expected_loss(prediction, metres[:, :, 1::2, 1::2], {})
    assert at_logits == pytest.approx(expected, rel=1e-5)
    assert at_input != pytest.approx(at_logits, rel=0.01)


def test_all_weights_of_zero_are_refused():
    with pytest.raises(UserError, match='depth_l1_weight, .* are all 0'):
        compute(expected_depth.only(), *random_depths((4, 5)))


def test_the_loss_is_float32_in_a_half_precision_context():
    x = nn.Variable((1, 1, 2, 2), need_grad=True)
    objective = losses.task_criterion.DepthCriterion.of({'depth_silog_weight': 1.0}).build(
        [x], (4, 4), nn.Context(['cpu:half', 'cpu:float'], 'CpuCachedArray', '0')
    )
    found = []
    objective.loss.visit(lambda f: found.append(f.context.backend))
    assert all(backend == ['cpu:float'] for backend in found)


def test_an_own_term_of_the_loss_of_depths():
    @dataclass(frozen=True, kw_only=True)
    class OwnKeys(Section):
        own_depth_weight: float = config_key(0.0, 'weight', least=0)

    losses.register_depth(
        losses.Term('own_depth', OwnKeys, lambda head, keys: head.mean(F.abs(head.error)))
    )
    try:
        prediction, metres = random_depths((4, 5))
        loss, _ = compute(
            {**expected_depth.only(), 'own_depth_weight': 2.0}, prediction, metres, [1, 1]
        )
        known = metres > 0
        assert loss == pytest.approx(2 * np.abs(prediction - metres)[known].mean(), rel=1e-6)
        assert OwnKeys in losses.sections()
    finally:
        del registry.DEPTH_TERMS._parts['own_depth']
