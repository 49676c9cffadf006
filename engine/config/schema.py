"""The keys of a config: the sections that own them, composed."""

from collections.abc import Iterable, Iterator, Mapping
from pkgutil import resolve_name
from typing import Any

import models
from common.sections import Key, Section, keys_of

# What a config is about, and where its section is, or what returns those that are registered. They
# are named, not imported: a section stands with the code that reads it, which may stand above this
# room.
SECTIONS = {
    'Network': 'models.family:NetworkKeys',
    'Data': 'datasets.keys:DataKeys',
    'Augmentation': 'datasets.loading.augmentations:AugmentationKeys',
    'Training': 'engine.training.recipe:TrainingKeys',
    'Learning rate': 'engine.training.schedules:ScheduleKeys',
    'Solver': 'engine.training.optimizer:SolverKeys',
    'Loss': 'engine.training.losses:sections',
    'Evaluation': 'engine.inference.test_time:ProtocolKeys',
}
# Keys whose value chooses one of several sections, and what returns these by that value.
CHOICES = {'augmentation': 'datasets.loading.augmentations:sections'}
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

    Of a key that several of ``CHOICES`` have, it is that of the chosen one.

    Args:
        values: What the config says, unchecked.

    Raises:
        UserError: There is no such network.
    """
    family = models.family_of(values.get('network', 'd3net'))
    keys: dict[str, Key] = {}
    for key in CHOICES:
        possible = _choices(key)
        chosen = [possible[name] for name in possible if name == values.get(key)]
        for section in (*possible.values(), *chosen):
            keys |= keys_of(section)
    for section in (*fixed_sections(), family.keys):
        keys |= {name: each for name, each in keys_of(section).items() if name not in keys}
    return keys


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
                own = keys_of(section).values()
                yield f'{title}: {name}', [key for key in own if shared.get(key.name) != key]
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
