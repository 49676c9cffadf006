"""The loss scale of half precision; how the trainer uses it is in test_trainer.py."""

import json

import pytest

from engine.training.loss_scale import MAX_SCALE, MIN_SCALE, LossScale


def adapted(scale, steps):
    """The factors after each of some steps: x overflows, . does not."""
    factors = []
    for step in steps:
        scale.adapt(step == 'x')
        factors.append(scale.factor)
    return factors


def test_an_overflow_halves_and_patience_doubles():
    scale = LossScale(True, first=8, patience=3)
    assert adapted(scale, '..x') == [8, 8, 4]
    assert adapted(scale, '...') == [4, 4, 8], 'good steps count from the overflow'
    assert adapted(scale, '...xx') == [8, 8, 16, 8, 4]


def test_it_stays_between_its_bounds():
    scale = LossScale(True, first=2.0**23, patience=1)
    assert adapted(scale, '...') == [MAX_SCALE] * 3
    scale = LossScale(True, first=2.0**-13)
    assert adapted(scale, 'xxx') == [MIN_SCALE] * 3


def test_it_is_a_power_of_two_so_that_scaling_is_exact():
    scale = LossScale(True)
    assert scale.factor.hex().startswith('0x1.0000000000000p')
    assert MAX_SCALE < 2.0**127, 'a float32 holds it'


def test_float_needs_none():
    scale = LossScale(False)
    assert (scale.factor, scale.state()) == (1, None)
    scale.load_state({'factor': 8.0, 'good_steps': 1})  # of a run in half precision
    assert scale.factor == 1


@pytest.mark.parametrize('steps', ['', '..', 'x.', '.....x...'])
def test_it_goes_on_from_its_state(steps):
    scale, other = (LossScale(True, first=2.0**10, patience=4) for _ in range(2))
    adapted(scale, steps)
    other.load_state(json.loads(json.dumps(scale.state())))
    assert adapted(other, '....x....') == adapted(scale, '....x....')


def test_from_no_state_it_begins_anew():
    """A run that was in float goes on in half precision."""
    scale = LossScale(True, first=2.0**10)
    scale.load_state(None)
    assert scale.factor == 2.0**10
