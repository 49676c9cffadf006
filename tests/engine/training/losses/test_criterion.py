"""The sum of all heads and terms against NumPy, and label statistics that are shared."""

import nnabla as nn
import numpy as np
import pytest

from common.errors import UserError
from engine.training import losses
from support.expected_losses import (
    ALL,
    CLASSES,
    assert_expected,
    compute,
    expected_loss,
    random_labels,
    random_outputs,
)


def test_loss_and_gradient_of_all_terms_together():
    assert_expected(ALL['everything'], random_outputs((4, 5)), random_labels((4, 5)))


@pytest.mark.parametrize('case', ALL)
@pytest.mark.parametrize('at', ('input', 'logits'))
def test_heads_of_other_resolutions(case, at):
    outputs = random_outputs((2, 3), (3, 2), (2, 3))
    config = {**ALL[case], 'loss_at': at, 'main_weight': 0.4, 'aux_weights': [0.5, 0.25]}
    assert_expected(config, outputs, random_labels((5, 7)))


@pytest.mark.parametrize('case', ALL)
def test_an_objective_can_be_reused(case):
    outputs = random_outputs((4, 5))
    variable = nn.Variable.from_numpy_array(outputs[0].astype(np.float32), need_grad=True)
    objective = losses.create(ALL[case], CLASSES).build([variable], (4, 5))
    for seed in (1, 2, 3):
        labels = random_labels((4, 5), seed=seed, ignored=0.2 * seed)
        objective.feed(labels, objective.counts(labels))
        objective.loss.forward(clear_no_need_grad=True)
        objective.loss.backward(clear_buffer=True)
        expected = expected_loss(outputs, labels, ALL[case])
        assert objective.loss.d.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('size', ((1, 1), (1, 7), (37, 41), (1, 1031), (64, 96)))
@pytest.mark.parametrize('case', ('default', 'smoothing, weights', 'ohem', 'dice'))
def test_maps_of_every_size(case, size):
    """Sizes that are reduced in several stages, and sizes with prime factors."""
    outputs, labels = random_outputs(size), random_labels(size)
    labels[0, 0, 0, 0] = 1
    loss, _ = compute(ALL[case], outputs, labels)
    assert loss == pytest.approx(expected_loss(outputs, labels, ALL[case]), rel=2e-5)


def test_shared_label_statistics_are_computed_once(monkeypatch):
    counted = []

    def count(labels):
        counted.append(labels.shape)
        return np.count_nonzero(labels >= 0)

    monkeypatch.setattr('engine.training.losses.head.count_valid', count)
    criterion = losses.create({'dice_weight': 1.0, 'loss_at': 'logits'}, CLASSES)
    sizes = (8, 8), (8, 8), (4, 4)
    outputs = [nn.Variable((2, CLASSES, *size)) for size in sizes]
    labels = random_labels((8, 8))
    found = criterion.build(outputs, (8, 8)).counts(labels)
    valid = np.count_nonzero(labels >= 0)
    assert found[:3].tolist() == [valid] * 3
    assert counted == [(2, 1, 8, 8), (2, 1, 4, 4)]


def test_the_default_weight_of_auxiliary_heads_is_two_fifths():
    outputs, labels = random_outputs((4, 5), (4, 5), (4, 5)), random_labels((4, 5))
    main, *others = (compute({}, [logits], labels)[0] for logits in outputs)
    assert compute({}, outputs, labels)[0] == pytest.approx(main + 0.4 * sum(others), rel=1e-6)


def test_one_weight_applies_to_all_auxiliary_heads():
    outputs, labels = random_outputs((4, 5), (4, 5), (4, 5)), random_labels((4, 5))
    same = compute({'aux_weights': [0.3]}, outputs, labels)[0]
    assert same == compute({'aux_weights': [0.3, 0.3]}, outputs, labels)[0]


@pytest.mark.parametrize(('weights', 'heads'), (([0.4], 0), ([0.4, 0.4], 1), ([0.4, 0.4], 3)))
def test_a_wrong_number_of_auxiliary_weights_is_refused(weights, heads):
    with pytest.raises(UserError, match=f'^aux_weights: {len(weights)} given'):
        outputs = random_outputs(*[(4, 5)] * (heads + 1))
        compute({'aux_weights': weights}, outputs, random_labels((4, 5)))


@pytest.mark.parametrize(
    ('config', 'message'),
    (
        ({'class_weights': [1.0, 2.0]}, '^class_weights: 2 values for 4 classes'),
        ({'loss': 'ohem', 'loss_mean': 'all'}, '^loss_mean: '),
    ),
)
def test_errors_name_the_key(config, message):
    with pytest.raises(UserError, match=message):
        losses.create(config, CLASSES)


def test_the_loss_is_float32_in_a_half_precision_context():
    """The context has the backends of a half-precision context of nnabla_ext.cudnn."""
    x = nn.Variable((1, CLASSES, 2, 2), need_grad=True)
    objective = losses.create({'lovasz_weight': 1.0}, CLASSES).build(
        [x], (4, 4), nn.Context(['cpu:half', 'cpu:float'], 'CpuCachedArray', '0')
    )
    found = []
    objective.loss.visit(lambda f: found.append(f.context.backend))
    assert found
    assert all(backend == ['cpu:float'] for backend in found)
