"""Compose the config keys from the sections that own them."""

from collections.abc import Mapping
from pkgutil import resolve_name
from typing import Any

import models
from common.errors import UserError
from common.sections import Key, Section, keys_of

# For each title of the reference, the name of its section or of a function that returns several
# sections. They are named instead of imported, because a section belongs to the code that reads it,
# which may be a higher layer.
SECTIONS = {
    'Network': 'models.family:NetworkKeys',
    'Inputs and tasks': 'engine.config.task_classes:sections',
    'Data': 'datasets.keys:DataKeys',
    'Augmentation': 'datasets.loading.augmentations:AugmentationKeys',
    'Training': 'engine.training.hyperparameters:TrainingKeys',
    'Learning rate': 'engine.training.schedules:ScheduleKeys',
    'Solver': 'engine.training.optimizer:SolverKeys',
    'Loss': 'engine.training.losses:sections',
    'Evaluation': 'engine.evaluation.score_keys:sections',
}
# For each key whose value selects one of several sections, the name of the function that returns
# these sections by value.
CHOICES = {
    'augmentation': 'datasets.loading.augmentations:sections',
    'loss': 'engine.training.losses:choices',
}
# Keys of the published config files of which only the published value is implemented.
FIXED_VALUES = {
    'dilation': True,
    'input_transform': 'resize_concat',
    'kernel_size': 1,
    'num_convs': 1,
    'concat_input': False,
    'dropout_ratio': -1,
    'align_corners': False,
}


def fixed_sections() -> list[type[Section]]:
    """Return the sections that apply to every config."""
    return [section for home in SECTIONS.values() for section in sections_at(home)]


def keys_for(values: Mapping[str, Any]) -> dict[str, Key]:
    """Return all valid keys of a config, by name.

    Args:
        values: The config's values, unchecked.

    Raises:
        UserError: The network is unknown, or two sections that apply to this config define
            different keys of the same name.
    """
    family = models.family_of(values.get('network', 'd3net'))
    in_effect: list[type[Section]] = fixed_sections()
    others: list[type[Section]] = []
    for chooser in CHOICES:
        possible = choices_of(chooser)
        default = _shared_keys()[chooser].default
        for name, section in possible.items():
            (in_effect if name == values.get(chooser, default) else others).append(section)
    keys: dict[str, Key] = {}
    owners: dict[str, type[Section]] = {}
    for section in (*in_effect, family.keys):
        for name, key in keys_of(section).items():
            if name in keys and not key.accepts_same_values_as(keys[name]):
                raise UserError(
                    f'{name}: {owners[name].__name__} and {section.__name__} define different keys '
                    'of this name; rename your own'
                )
            keys[name], owners[name] = key, section
    for section in others:  # a config may contain keys of sections that it does not select
        keys = keys_of(section) | keys
    return keys


def _shared_keys() -> dict[str, Key]:
    """Return the keys that apply to every config, by name."""
    return {name: key for each in fixed_sections() for name, key in keys_of(each).items()}


def sections_at(home: str) -> list[type[Section]]:
    """Return the sections of an entry of ``SECTIONS``."""
    found = resolve_name(home)
    return [found] if isinstance(found, type) else found()


def choices_of(key: str) -> dict[str, type[Section]]:
    """Return the sections from which the value of ``key`` selects one, by that value."""
    return resolve_name(CHOICES[key])()
