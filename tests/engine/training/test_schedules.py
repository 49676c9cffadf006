"""Learning rates against closed forms and against values worked out by hand.

The published decay is tested with the published networks, in tests/d3net/test_reference.py.
"""

import math

import pytest

from common.errors import UserError
from engine.training import schedules
from engine.training.schedules import ScheduleKeys

MAX_ITER = 100
SCHEDULES = {
    'poly': {'power': 0.9},
    'cosine': {},
    'step': {'milestones': [20, 30]},
    'one_cycle': {},
    'constant': {},
}


def learning_rates(max_iter=MAX_ITER, factor=1.0, **config):
    rate = schedules.learning_rate(ScheduleKeys(lr=0.4, **config), max_iter, factor=factor)
    return [rate(iteration) for iteration in range(max_iter)]


def test_the_default_is_the_published_decay():
    rates = learning_rates(min_lr=0.1)
    for iteration in (0, 25, 99):
        expected = 0.1 + 0.3 * (1 - iteration / 100) ** 0.9
        assert rates[iteration] == pytest.approx(expected, rel=1e-12)


def test_constant():
    assert set(learning_rates(schedule='constant')) == {0.4}


def test_cosine():
    """cos(60 degrees) is 1/2, so a third of the way is a quarter of the drop."""
    rates = learning_rates(90, schedule='cosine', min_lr=0.2)
    assert rates[0] == 0.4
    assert rates[30] == pytest.approx(0.35)
    assert rates[45] == pytest.approx(0.3)
    assert rates[60] == pytest.approx(0.25)
    assert rates[89] > 0.2
    assert rates == sorted(rates, reverse=True)


def test_step_takes_effect_at_its_milestone():
    rates = learning_rates(schedule='step', milestones=[20, 50], gamma=0.5)
    assert rates == [0.4] * 20 + [0.2] * 30 + [0.1] * 50


def test_step_divides_by_ten_by_default():
    assert learning_rates(schedule='step', milestones=[99])[-1] == pytest.approx(0.04)


def test_one_cycle():
    """PyTorch's OneCycleLR(max_lr=0.4, total_steps=100): 30 steps up, 70 down."""
    rates = learning_rates(schedule='one_cycle')
    assert rates[0] == pytest.approx(0.4 / 25)
    assert rates[29] == pytest.approx(0.4)
    assert rates[64] == pytest.approx((0.4 + 0.4 / 25e4) / 2)
    assert rates[99] == pytest.approx(0.4 / 25e4)
    for iteration in range(30):
        height = math.sin(math.pi / 2 * iteration / 29) ** 2
        assert rates[iteration] == pytest.approx(0.016 + (0.4 - 0.016) * height)
    for iteration in range(30, 100):
        height = math.cos(math.pi / 2 * (iteration - 29) / 70) ** 2
        assert rates[iteration] == pytest.approx(1.6e-6 + (0.4 - 1.6e-6) * height)


@pytest.mark.parametrize('max_iter', (1, 2, 3, 4, 10))
def test_one_cycle_of_a_few_iterations_ends_at_the_lowest_rate(max_iter):
    rates = learning_rates(max_iter, schedule='one_cycle')
    assert rates[-1] == pytest.approx(0.4 / 25e4)
    assert max(rates) <= 0.4


@pytest.mark.parametrize('schedule', SCHEDULES)
def test_warm_up_joins_the_schedule_without_a_jump(schedule):
    plain = learning_rates(schedule=schedule, **SCHEDULES[schedule])
    warm = learning_rates(
        schedule=schedule, warmup_iter=10, warmup_factor=0.2, **SCHEDULES[schedule]
    )
    assert warm[0] == pytest.approx(0.2 * plain[0])
    assert warm[5] == pytest.approx(0.6 * plain[5])
    assert warm[9] == pytest.approx(0.92 * plain[9])
    assert warm[10:] == plain[10:]


def test_warm_up_from_zero():
    assert learning_rates(schedule='constant', warmup_iter=4, warmup_factor=0.0)[:5] == [
        pytest.approx(0.4 * i / 4) for i in range(5)
    ]


@pytest.mark.parametrize('schedule', SCHEDULES)
def test_the_factor_scales_every_rate(schedule):
    config = dict(schedule=schedule, min_lr=0.05, warmup_iter=5, **SCHEDULES[schedule])
    quarter = learning_rates(factor=0.25, **config)
    assert quarter == pytest.approx([rate / 4 for rate in learning_rates(**config)])


@pytest.mark.parametrize(
    ('config', 'message'),
    (
        ({'schedule': 'poly'}, '^lr: '),
        ({'lr': 0.1, 'schedule': 'step'}, '^milestones: '),
        ({'lr': 0.1, 'schedule': 'step', 'milestones': [5, 3]}, '^milestones: must ascend'),
        ({'lr': 0.1, 'schedule': 'step', 'milestones': [3, 3]}, '^milestones: must ascend'),
    ),
)
def test_errors_name_the_key(config, message):
    with pytest.raises(UserError, match=message):
        schedules.learning_rate(ScheduleKeys(**config), MAX_ITER)
