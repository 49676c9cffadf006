"""Recipes: epochs as iterations. What processes and batches do is in tests/test_train.py."""

import pytest

from command import UserError
from engine import recipe

CONFIG = {'batch_size': 4, 'accumulation': 3, 'lr': 0.4, 'epochs': 10}


def rates(config, samples=120, processes=2):
    """The learning rate of every iteration; 120 samples are 5 iterations of 24."""
    made = recipe.from_config(config, samples, processes)
    return [made.rate(iteration) for iteration in range(made.max_iter)]


def test_milestones_in_epochs():
    found = rates({**CONFIG, 'schedule': 'step', 'milestone_epochs': [4, 8], 'gamma': 0.25})
    assert found == [0.4] * 20 + [0.1] * 20 + [0.025] * 10


def test_warm_up_in_epochs():
    constant = {**CONFIG, 'schedule': 'constant', 'warmup_factor': 0.0}
    assert rates({**constant, 'warmup_epochs': 2}) == rates({**constant, 'warmup_iter': 10})
    assert rates({**constant, 'warmup_epochs': 0}) == [0.4] * 50


def test_epochs_that_are_no_whole_number_of_iterations():
    """31 samples in batches of 24: an epoch is 1.29 iterations, three are 3.9."""
    found = rates({**CONFIG, 'schedule': 'step', 'milestone_epochs': [3]}, samples=31)
    assert found == [0.4] * 4 + [pytest.approx(0.04)] * 9


@pytest.mark.parametrize(
    ('keys', 'message'),
    (
        ({'warmup_epochs': 1, 'warmup_iter': 5}, '^warmup_epochs, warmup_iter: give one of them'),
        (
            {'schedule': 'step', 'milestone_epochs': [1], 'milestones': [5]},
            '^milestone_epochs, milestones: give one of them',
        ),
        ({'schedule': 'step', 'milestone_epochs': [3, 2]}, '^milestones: must ascend'),
        ({'schedule': 'step'}, '^milestones: the schedule step needs them, or milestone_epochs'),
    ),
)
def test_mistakes_name_the_key(keys, message):
    with pytest.raises(UserError, match=message):
        recipe.from_config({**CONFIG, **keys}, 120, 2)
