"""The dynamic loss scale of half precision; test_half_precision.py covers its use."""

import json

import pytest

from engine.training.loss_scale import MAX_SCALE, MIN_SCALE, LossScale


def adapted(scale, steps):
    """Return the scale after each step; ``x`` overflows, ``.`` does not."""
    factors = []
    for step in steps:
        scale.adapt(step == 'x')
        factors.append(scale.factor)
    return factors


def test_an_overflow_halves_and_good_steps_double_the_scale():
    scale = LossScale(True, first=8, patience=3)
    assert adapted(scale, '..x') == [8, 8, 4]
    assert adapted(scale, '...') == [4, 4, 8], 'good steps are counted from the overflow'
    assert adapted(scale, '...xx') == [8, 8, 16, 8, 4]


def test_the_scale_is_bounded():
    scale = LossScale(True, first=2.0**23, patience=1)
    assert adapted(scale, '...') == [MAX_SCALE] * 3
    scale = LossScale(True, first=2.0**-13)
    assert adapted(scale, 'xxx') == [MIN_SCALE] * 3


def test_the_scale_is_a_power_of_two():
    scale = LossScale(True)
    assert scale.factor.hex().startswith('0x1.0000000000000p')
    assert MAX_SCALE < 2.0**127, 'the maximum must be a finite float32'


def test_float_is_not_scaled():
    scale = LossScale(False)
    assert (scale.factor, scale.state()) == (1, None)
    scale.load_state({'factor': 8.0, 'good_steps': 1})  # the state of a run in half precision
    assert scale.factor == 1


@pytest.mark.parametrize('steps', ['', '..', 'x.', '.....x...'])
def test_the_scale_continues_from_its_state(steps):
    scale, other = (LossScale(True, first=2.0**10, patience=4) for _ in range(2))
    adapted(scale, steps)
    other.load_state(json.loads(json.dumps(scale.state())))
    assert adapted(other, '....x....') == adapted(scale, '....x....')


def test_without_a_state_the_scale_is_the_initial_one():
    """A float run is resumed in half precision."""
    scale = LossScale(True, first=2.0**10)
    scale.load_state(None)
    assert scale.factor == 2.0**10
