"""Losses that a project adds: computation, config keys, and refused registrations."""

from dataclasses import dataclass

import nnabla.functions as F
import numpy as np
import pytest

from common.errors import UserError
from common.sections import Section, config_key
from engine.config import reference, schema
from engine.training import losses
from engine.training.losses import registry
from layers import functions as L
from support.expected_losses import (
    CLASSES,
    compute,
    random_labels,
    random_outputs,
    softmax,
)


@dataclass(frozen=True, kw_only=True)
class FocalKeys(Section):
    own_gamma: float = config_key(2.0, 'exponent', least=0)


@dataclass(frozen=True, kw_only=True)
class ScarceKeys(Section):
    scarce_weight: float = config_key(0.0, 'weight', least=0)
    scarce_class: int = config_key(0, 'number of the class', least=0)


def own_focal(head, keys):
    miss = F.exp(head.cross_entropy * -1) * -1 + 1
    return head.mean(head.pixel_losses * F.pow_scalar(miss, keys.own_gamma))


def scarce(head, keys):
    """Return the mean cross entropy of one class."""

    def count(labels):
        return np.count_nonzero(labels == keys.scarce_class)

    its_own = head.targets.add(head.targets.shape, lambda labels: labels == keys.scarce_class)
    return losses.MicroBatchLoss(L.mean_all(head.cross_entropy * its_own), count, np.size)


@dataclass(frozen=True, kw_only=True)
class EagerKeys(Section):
    """Keys of a term that would be active without a config that sets it."""

    eager_weight: float = config_key(1.0, 'weight of the eager loss', least=0)


@pytest.fixture
def own_losses():
    """Register the losses as a module of ``--import`` does."""
    losses.register(losses.PixelLoss('own_focal', FocalKeys, own_focal))
    losses.register(losses.Term('scarce', ScarceKeys, scarce))
    yield
    del registry.PIXEL_LOSSES._parts['own_focal'], registry.TERMS._parts['scarce']


OWN = {'loss': 'own_focal', 'own_gamma': 3.0, 'scarce_weight': 0.5, 'scarce_class': 1}


def test_own_losses_are_computed_and_summed_over_micro_batches(own_losses):
    outputs, labels = random_outputs((4, 5), batch=4), random_labels((4, 5), batch=4)
    labels[1] = -1
    whole, gradients = compute(OWN, outputs, labels)
    p = softmax(outputs[0].transpose(0, 2, 3, 1).reshape(-1, CLASSES))
    of_pixels = labels.ravel()
    p_true = p[np.arange(len(p)), of_pixels]
    valid, its_own = of_pixels >= 0, of_pixels == 1
    expected = np.mean((-((1 - p_true) ** 3) * np.log(p_true))[valid])
    expected += 0.5 * np.mean(-np.log(p_true)[its_own])
    assert whole == pytest.approx(expected, rel=1e-5)
    for batches in ([1, 3], [1, 1, 2]):
        loss, shares = compute(OWN, outputs, labels, batches)
        assert loss == pytest.approx(whole, rel=1e-6)
        assert shares[0] == pytest.approx(gradients[0], rel=1e-5, abs=1e-8)


def test_keys_of_own_losses_are_config_keys(own_losses):
    keys = schema.keys_for({'network': 'd3net'})
    assert 'own_focal' in keys['loss'].choices
    assert keys['own_gamma'].convert('3') == 3.0
    assert '  scarce_class: whole number, at least 0; default: 0\n      number of the class' in (
        reference.as_text()
    )


@pytest.mark.parametrize(
    ('loss', 'message'),
    (
        (
            losses.PixelLoss('ohem', FocalKeys, own_focal),
            'a loss called ohem is registered already',
        ),
        (losses.Term('dice', ScarceKeys, scarce), '.* ScarceKeys needs the key dice_weight with'),
        (losses.Term('eager', EagerKeys, scarce), '.* EagerKeys needs the key eager_weight with'),
    ),
)
def test_invalid_losses_are_not_registered(loss, message):
    with pytest.raises(UserError, match=f'^{message}'):
        losses.register(loss)
