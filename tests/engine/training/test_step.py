"""A failed step is rolled back to the values at its start, unless it has changed weights."""

import numpy as np
import pytest

from common.errors import InputError
from engine.training.divergence import DivergedError
from engine.training.losses import Objective
from support.small_trainers import (
    CONFIG,
    RepeatingLoader,
    assert_rolls_back,
    batches,
    make_trainer,
    small_network,
)


def test_a_step_whose_loss_is_not_finite_is_rolled_back(monkeypatch):
    trainer = make_trainer(small_network(), CONFIG, RepeatingLoader(*batches()))
    trainer.step()
    before, feed = trainer.state(), Objective.feed
    monkeypatch.setattr(Objective, 'feed', lambda self, *given: feed(self, given[0], [np.nan]))
    with pytest.raises(DivergedError, match='the loss of iteration 2 is not finite'):
        trainer.step()
    assert before['loader'] == {'given': 1}
    assert_rolls_back(trainer, before)


def test_an_update_that_spoils_the_weights_cannot_be_rolled_back():
    trainer = make_trainer(small_network(), {**CONFIG, 'lr': 1e39}, RepeatingLoader(*batches()))
    with pytest.raises(DivergedError, match='is not finite after iteration 1 '):
        trainer.step()
    assert not trainer.roll_back()
    assert not trainer.ranks_in_sync


def test_a_step_whose_batches_cannot_be_loaded_is_rolled_back():
    """The position in the data as well, although the first batch of the step was loaded."""
    given = RepeatingLoader(*batches())
    trainer = make_trainer(small_network(), {**CONFIG, 'accumulation': 2}, given)
    trainer.step()
    before, load = trainer.state(), given.next

    def fails():
        if given.given == 3:
            raise InputError('3.png: damaged')
        return load()

    given.next = fails
    with pytest.raises(InputError, match='3.png: damaged'):
        trainer.step()
    assert (given.given, trainer.ranks_in_sync, trainer.roll_back()) == (3, True, True)
    after = trainer.state()
    assert after['loader'] == before['loader'] == {'given': 2}
    assert after['iteration'] == 1
    for name, array in before['parameters'].items():
        assert np.array_equal(after['parameters'][name], array), name
