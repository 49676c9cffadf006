"""The keys of a config: the sections that own them, composed."""

from collections.abc import Iterable, Iterator, Mapping
from pkgutil import resolve_name
from typing import Any

import models
from common.errors import UserError
from common.sections import Key, Section, keys_of

# What a config is about, and where its section is, or what returns those that are registered. They
# are named, not imported: a section stands with the code that reads it, which may stand above this
# room.
SECTIONS = {
    'Network': 'models.family:NetworkKeys',
    'Data': 'datasets.keys:DataKeys',
    'Augmentation': 'datasets.loading.augmentations:AugmentationKeys',
    'Training': 'engine.training.hyperparameters:TrainingKeys',
    'Learning rate': 'engine.training.schedules:ScheduleKeys',
    'Solver': 'engine.training.optimizer:SolverKeys',
    'Loss': 'engine.training.losses:sections',
    'Evaluation': 'engine.inference.test_time:ProtocolKeys',
}
# Keys whose value chooses one of several sections, and what returns these by that value.
CHOICES = {
    'augmentation': 'datasets.loading.augmentations:sections',
    'loss': 'engine.training.losses:choices',
}
# Keys of the published files of which only the published value is implemented.
ONE_VALUE = {
    'dilation': True,
    'input_transform': 'resize_concat',
    'kernel_size': 1,
    'num_convs': 1,
    'concat_input': False,
    'dropout_ratio': -1,
    'align_corners': False,
}


def fixed_sections() -> list[type[Section]]:
    """Return the sections that hold for every config, whatever it chooses."""
    return [section for home in SECTIONS.values() for section in _sections_at(home)]


def keys_for(values: Mapping[str, Any]) -> dict[str, Key]:
    """Return all keys that a config may have, by name.

    Args:
        values: What the config says, unchecked.

    Raises:
        UserError: There is no such network, or two sections that take effect together have
            different keys of one name.
    """
    family = models.family_of(values.get('network', 'd3net'))
    in_effect: list[type[Section]] = fixed_sections()
    others: list[type[Section]] = []
    for chooser in CHOICES:
        possible = _choices(chooser)
        default = _shared_keys()[chooser].default
        for name, section in possible.items():
            (in_effect if name == values.get(chooser, default) else others).append(section)
    keys: dict[str, Key] = {}
    owners: dict[str, type[Section]] = {}
    for section in (*in_effect, family.keys):
        for name, key in keys_of(section).items():
            if name in keys and not key.holds_the_same_as(keys[name]):
                raise UserError(
                    f'{name}: {owners[name].__name__} and {section.__name__} have different keys '
                    'of this name; rename the one of your own'
                )
            keys[name], owners[name] = key, section
    for section in others:  # of which a config may keep keys
        keys = keys_of(section) | keys
    return keys


def _shared_keys() -> dict[str, Key]:
    """Return the keys that hold for every config, by name."""
    return {name: key for each in fixed_sections() for name, key in keys_of(each).items()}


def reference() -> str:
    """Return every key with its type, range, default and meaning.

    There is a paragraph for each section, and one for each of ``CHOICES``, with what it adds to the
    section of the key that chooses it, or has another default for.
    """
    return '\n'.join(f'{title}\n' + ''.join(map(_entry, keys)) for title, keys in _paragraphs())


def _paragraphs() -> Iterator[tuple[str, Iterable[Key]]]:
    """Yield the titles of the reference and the keys below them."""
    for title, home in SECTIONS.items():
        shared = {name: key for each in _sections_at(home) for name, key in keys_of(each).items()}
        yield title, shared.values()
        for chooser in shared.keys() & CHOICES.keys():
            for name, section in _choices(chooser).items():
                own = [k for k in keys_of(section).values() if shared.get(k.name) != k]
                if own:
                    yield f'{title}: {name}', own
    for family in models.FAMILIES:
        yield f'Hyper-parameters: {family.name}', keys_of(family.keys).values()


def _sections_at(home: str) -> list[type[Section]]:
    """Return the sections that an entry of ``SECTIONS`` names."""
    found = resolve_name(home)
    return [found] if isinstance(found, type) else found()


def _choices(key: str) -> dict[str, type[Section]]:
    """Return the sections of which a config chooses one with ``key``, by its values."""
    return resolve_name(CHOICES[key])()


def _entry(key: Key) -> str:
    """Return the lines of a key in the reference."""
    limits = f', {key.range_text()}' if key.range_text() else ''
    facts = f'{key.type_text()}{limits}; default: {key.default_words()}'
    return f'  {key.name}: {facts}\n      {key.meaning}\n'
