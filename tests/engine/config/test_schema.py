"""The keys of a config come from several sections, which must not contradict each other."""

from dataclasses import dataclass

import pytest

from common.errors import UserError
from common.sections import Section, config_key
from engine.config import schema


@dataclass(frozen=True, kw_only=True)
class SameKeys(Section):
    lr: float = config_key(0.1, 'another default of the learning rate', above=0)


@dataclass(frozen=True, kw_only=True)
class OtherKeys(Section):
    lr: str = config_key('fast', 'a name instead of a number')


def own_augmentation(monkeypatch, keys):
    """Add an augmentation with these keys to the alternatives."""
    present = schema.choices_of('augmentation')
    monkeypatch.setattr('datasets.loading.augmentations.sections', lambda: {**present, 'own': keys})


def test_a_selected_section_defines_the_default(monkeypatch):
    own_augmentation(monkeypatch, SameKeys)
    assert schema.keys_for({'augmentation': 'own'})['lr'].meaning.startswith('another default')
    assert not schema.keys_for({})['lr'].meaning.startswith('another default')


def test_different_keys_of_one_name_are_refused_where_both_apply(monkeypatch):
    own_augmentation(monkeypatch, OtherKeys)
    with pytest.raises(UserError, match='lr: .* and OtherKeys define different keys of this name'):
        schema.keys_for({'augmentation': 'own'})
    assert schema.keys_for({})['lr'].convert(1) == 1.0


def test_keys_of_alternatives_that_are_not_selected_are_valid_too():
    assert schema.keys_for({'loss': 'cross_entropy'}).keys() >= {'ohem_threshold', 'short_sides'}
