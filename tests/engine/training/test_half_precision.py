"""Training in half precision with a dynamic loss scale."""

from types import SimpleNamespace

import nnabla as nn
import numpy as np
import pytest

from engine.training.divergence import DivergedError
from engine.training.optimizer import Optimizer
from support.small_trainers import (
    CONFIG,
    RepeatingLoader,
    assert_rolls_back,
    batches,
    make_trainer,
    small_network,
    trained,
)

# NNabla's CPU computes some functions in half precision, all others in float.
HALF = nn.Context(['cpu:half', 'cpu:float'], 'CpuCachedArray', '0')


def losses(steps, **options):
    trainer = make_trainer(
        small_network(),
        {**CONFIG, 'max_iter': 200, 'lr': 0.2},
        RepeatingLoader(*batches()),
        build={'dropout': False},
        **options,
    )
    return trainer, [trainer.step().loss for _ in range(steps)]


def test_half_precision_trains_like_float():
    """The loss and the sums in it are computed in float, as on a GPU."""
    _, in_float = losses(40)
    nn.clear_parameters()
    nn.set_default_context(HALF)
    trainer, in_half = losses(40, half=True)
    assert in_float[-1] < 0.75 * in_float[0], 'the test needs a task that can be learned'
    assert in_half != in_float
    assert in_half == pytest.approx(in_float, rel=5e-3)
    dtypes = {parameter.data.dtype for parameter in nn.get_parameters().values()}
    assert dtypes == {np.dtype(np.float32)}, 'the master weights stay in float'


def test_loss_scaling_does_not_change_results_in_float():
    """Scaling by a power of two is exact, so the optimizer gets the true gradients.

    Weight decay, clipping and momentum would reveal scaled ones.
    """
    changes = {'clip_norm': 0.5, 'accumulation': 2, 'gradient_reduction': 'sum'}
    plain, scaled = trained(changes), trained(changes, half=True)
    assert all(np.array_equal(plain[name], array) for name, array in scaled.items())


@pytest.mark.parametrize('solver', ['momentum', 'adam'])
def test_an_overflow_skips_the_step(solver):
    """Weights, momenta and average do not change; the scale is halved until steps succeed."""
    nn.set_default_context(HALF)
    config = {**CONFIG, 'max_iter': 40, 'solver': solver, 'ema_decay': 0.5}
    trainer = make_trainer(small_network(), config, RepeatingLoader(*batches()), half=True)
    trainer.step()
    too_large = {'factor': 2.0**24, 'good_steps': 7}
    trainer.load_state(SimpleNamespace(**{**trainer.state(), 'loss_scale': too_large}))
    before = trainer.state()
    step = trainer.step()
    assert np.isfinite(step.loss)
    assert (step.skipped, step.loss_scale) == (True, 2.0**23)
    after = trainer.state()
    assert after['iteration'] == before['iteration'] + 1
    assert after['loss_scale'] == {'factor': 2.0**23, 'good_steps': 0}
    for part in ('solver', 'average'):
        assert all(np.array_equal(after[part][n], array) for n, array in before[part].items())
    for name in nn.get_parameters():
        assert np.array_equal(after['parameters'][name], before['parameters'][name])
    for _ in range(20):
        if not trainer.step().skipped:
            break
    final = trainer.state()
    assert 1 < final['loss_scale']['factor'] < 2.0**23
    moved, old = (state['parameters']['main/conv/W'] for state in (final, before))
    assert not np.array_equal(moved, old)


def test_an_overflow_at_the_smallest_scale_is_an_error(monkeypatch):
    monkeypatch.setattr(Optimizer, 'has_overflow', lambda optimizer: True)
    trainer = make_trainer(
        small_network(), {**CONFIG, 'max_iter': 40}, RepeatingLoader(*batches()), half=True
    )
    smallest = {'factor': 2.0**-13, 'good_steps': 0}
    trainer.load_state(SimpleNamespace(**{**trainer.state(), 'loss_scale': smallest}))
    assert trainer.step().skipped
    before = trainer.state()
    with pytest.raises(DivergedError, match='the gradients of iteration 2 overflow in half'):
        trainer.step()
    assert_rolls_back(trainer, before)
