"""Hyperparameters against the published formulas and against values worked out by hand."""

import pytest

from common.errors import UserError
from engine.training.schedules import poly
from support.mpi_training import hyperparameters_of

CONFIG = {
    'batch_size': 8, 'lr': 0.01, 'min_lr': 0.0001, 'power': 0.9, 'max_iter': 80000,
    'weight_decay': 0.0005, 'save_interval': 8000,
}  # fmt: skip
PUBLISHED = {**CONFIG, 'reference_batch': 8, 'gradient_reduction': 'sum'}


@pytest.mark.parametrize('processes', [1, 2, 3, 4, 7])
@pytest.mark.parametrize('batch_size', [1, 2, 3, 8, 12])
def test_scaling_equals_the_published_one(batch_size, processes):
    """Every process has ``batch_size``, and gradients are summed without division.

    Source: sony/ai-research-code, d3net/semantic-segmentation/train.py at cfe96dfe.
    """
    factor = processes * (batch_size / 8)
    max_iter = int(80000 // factor)
    made = hyperparameters_of({**PUBLISHED, 'batch_size': batch_size}, 2975, processes)
    assert made.max_iter == max_iter
    assert made.weight_decay == 0.0005 * processes
    assert made.gradient_factor == processes
    for iteration in (0, 1, max_iter // 2, max_iter - 1):
        published = poly(
            iteration, lr=0.01 * factor, min_lr=0.0001 * factor, max_iter=max_iter, power=0.9
        )
        assert made.rate(iteration) == pytest.approx(published, rel=1e-12)


@pytest.mark.parametrize(('batch_size', 'max_iter'), [(1, 10000), (3, 3333), (7, 1428), (30, 333)])
def test_the_length_is_exact(batch_size, max_iter):
    """In float arithmetic, a thousand divided by a tenth is 9999."""
    changes = {'batch_size': batch_size, 'reference_batch': 10, 'max_iter': 1000}
    assert hyperparameters_of({**CONFIG, **changes}, 100, 1).max_iter == max_iter


def test_without_a_reference_batch_nothing_is_scaled():
    one, four = (hyperparameters_of(CONFIG, 2975, processes) for processes in (1, 4))
    for made in (one, four):
        assert (made.max_iter, made.weight_decay) == (80000, 0.0005)
        assert (made.gradient_factor, made.batch_size, made.accumulation) == (1, 8, 1)
        assert made.rate(40000) == poly(40000, lr=0.01, min_lr=0.0001, max_iter=80000, power=0.9)


def test_milestones_and_warm_up_scale_with_the_length():
    """With k times the batch, all of them are divided by k."""
    schedule = {
        'schedule': 'step', 'milestones': [30000, 60000], 'gamma': 0.1, 'warmup_iter': 1000,
        'warmup_factor': 0.1, 'reference_batch': 8,
    }  # fmt: skip
    one, four = (hyperparameters_of({**CONFIG, **schedule}, 2975, n) for n in (1, 4))
    assert (one.max_iter, four.max_iter) == (80000, 20000)
    for iteration in (0, 100, 250, 1000, 7499, 7500, 14999, 15000, 19999):
        assert four.rate(iteration) == pytest.approx(4 * one.rate(4 * iteration), rel=1e-12)
    assert four.rate(7500) == pytest.approx(four.rate(7499) / 10)


def test_scaled_milestones_that_coincide_are_refused():
    schedule = {'schedule': 'step', 'milestones': [3, 4], 'reference_batch': 1}
    with pytest.raises(UserError, match=r'milestones: \[3, 4\] become \[0, 0\] of .* with 8 '):
        hyperparameters_of({**CONFIG, **schedule}, 100, 1)


def test_accumulation_counts_as_a_larger_batch():
    changes = {'batch_size': 2, 'accumulation': 4, 'reference_batch': 8}
    made = hyperparameters_of({**CONFIG, **changes}, 2975, 2)
    assert (made.max_iter, made.rate(0)) == (40000, 0.02)
    assert (made.batch_size, made.accumulation) == (2, 4)


@pytest.mark.parametrize(
    ('samples', 'batch_size', 'processes', 'accumulation', 'expected'),
    [(16, 2, 1, 1, 24), (17, 2, 1, 1, 26), (16, 2, 2, 2, 6), (1, 8, 1, 1, 1), (2975, 8, 4, 1, 279)],
)
def test_epochs(samples, batch_size, processes, accumulation, expected):
    """No sample is omitted; the last batch can extend into the next epoch."""
    config = {'lr': 1, 'epochs': 3, 'batch_size': batch_size, 'accumulation': accumulation}
    made = hyperparameters_of(config, samples, processes)
    assert made.max_iter == expected
    batch = batch_size * processes * accumulation
    assert made.max_iter * batch >= 3 * samples > (made.max_iter - 1) * batch


def test_with_epochs_the_reference_batch_scales_only_the_rate():
    config = {'lr': 0.1, 'epochs': 2, 'batch_size': 4, 'reference_batch': 2}
    made = hyperparameters_of(config, 16, 2)
    assert (made.max_iter, made.rate(0)) == (4, 0.4)


@pytest.mark.parametrize(
    ('changes', 'save', 'val', 'keep'),
    [
        ({}, 8000, 8000, 1),
        ({'save_interval': None}, 1000, 1000, 1),
        ({'save_interval': None, 'max_iter': 700}, 700, 700, 1),
        ({'save_interval': 100000}, 80000, 80000, 1),
        ({'val_interval': 500, 'keep_checkpoints': 3}, 8000, 500, 3),
    ],
)
def test_intervals(changes, save, val, keep):
    config = {key: value for key, value in {**CONFIG, **changes}.items() if value is not None}
    made = hyperparameters_of(config, 2975, 1)
    assert (made.save_interval, made.val_interval, made.keep_checkpoints) == (save, val, keep)
    assert made.save_minutes == 10
    assert hyperparameters_of({**config, 'save_minutes': 0.5}, 2975, 1).save_minutes == 0.5


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'lr': None}, 'lr: required for training'),
        ({'batch_size': None}, 'batch_size: required for training'),
        ({'max_iter': None}, 'max_iter, epochs: a training needs one of them; neither is set'),
        (
            {'epochs': 3},
            'max_iter, epochs: a training needs one of them and both are set; drop the other with '
            '--set max_iter=null or --set epochs=null',
        ),
        (
            {'max_iter': 3, 'reference_batch': 2},
            'max_iter: 3 iterations become 0 with 4 times the reference_batch, 2',
        ),
    ],
)
def test_missing_keys_are_named(changes, message):
    config = {key: value for key, value in {**CONFIG, **changes}.items() if value is not None}
    with pytest.raises(UserError) as caught:
        hyperparameters_of(config, 2975, 1)
    assert str(caught.value) == message


IN_EPOCHS = {'batch_size': 4, 'accumulation': 3, 'lr': 0.4, 'epochs': 10}


def rates(config, samples=120, processes=2):
    """Return the learning rate of every iteration; 120 samples are 5 iterations of 24."""
    made = hyperparameters_of(config, samples, processes)
    return [made.rate(iteration) for iteration in range(made.max_iter)]


def test_milestones_in_epochs():
    found = rates({**IN_EPOCHS, 'schedule': 'step', 'milestone_epochs': [4, 8], 'gamma': 0.25})
    assert found == [0.4] * 20 + [0.1] * 20 + [0.025] * 10


def test_warm_up_in_epochs():
    constant = {**IN_EPOCHS, 'schedule': 'constant', 'warmup_factor': 0.0}
    assert rates({**constant, 'warmup_epochs': 2}) == rates({**constant, 'warmup_iter': 10})
    assert rates({**constant, 'warmup_epochs': 0}) == [0.4] * 50


def test_epochs_are_rounded_to_whole_iterations():
    """31 samples in batches of 24: an epoch is 1.29 iterations, three are 3.9."""
    found = rates({**IN_EPOCHS, 'schedule': 'step', 'milestone_epochs': [3]}, samples=31)
    assert found == [0.4] * 4 + [pytest.approx(0.04)] * 9


@pytest.mark.parametrize(
    ('keys', 'message'),
    (
        ({'warmup_epochs': 1, 'warmup_iter': 5}, '^warmup_epochs, warmup_iter: both are set; drop'),
        (
            {'schedule': 'step', 'milestone_epochs': [1], 'milestones': [5]},
            '^milestone_epochs, milestones: both are set; drop',
        ),
        ({'schedule': 'step', 'milestone_epochs': [3, 2]}, '^milestone_epochs: must ascend'),
        ({'schedule': 'step'}, '^milestones: the schedule step needs them, or milestone_epochs'),
    ),
)
def test_errors_with_epochs_name_the_key(keys, message):
    with pytest.raises(UserError, match=message):
        hyperparameters_of({**IN_EPOCHS, **keys}, 120, 2)
