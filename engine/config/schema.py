"""The keys of a config: the sections that own them, composed."""

from collections.abc import Iterator
from pkgutil import resolve_name

import models
from common.sections import Key, Section, keys_of

# What a config is about, and where its section is. They are named, not imported: a section stands
# with the code that reads it, which may stand above this room.
SECTIONS = {
    'Network': 'models.family:NetworkKeys',
    'Data': 'datasets.keys:DataKeys',
    'Augmentation': 'datasets.loading.transforms:sections',
    'Training': 'engine.training.recipe:TrainingKeys',
    'Learning rate': 'engine.training.schedules:ScheduleKeys',
    'Solver': 'engine.training.optimizer:SolverKeys',
    'Loss': 'engine.training.losses:sections',
    'Evaluation': 'engine.inference.test_time:ProtocolKeys',
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


def sections() -> Iterator[tuple[str, type[Section]]]:
    """Yield the title and the class of every section but the hyper-parameters of networks.

    An entry of ``SECTIONS`` is a section, or a function that returns those that are registered.
    """
    for title, home in SECTIONS.items():
        found = resolve_name(home)
        for section in (found,) if isinstance(found, type) else found():
            yield title, section


def fixed_sections() -> list[type[Section]]:
    """Return the sections that hold for every config, whatever it chooses."""
    found = map(resolve_name, SECTIONS.values())
    return [section for section in found if isinstance(section, type)]


def keys_for(network: str) -> dict[str, Key]:
    """Return all keys that a config of a network may have, by name.

    Raises:
        UserError: There is no such network.
    """
    family = models.family_of(network)
    keys: dict[str, Key] = {}
    for section in [*(section for _, section in sections()), family.keys]:
        keys |= keys_of(section)
    return keys


def reference() -> str:
    """Return every key with its type, range, default and meaning, a paragraph for each section."""
    titled: dict[str, dict[str, Key]] = {}
    for title, section in sections():
        titled.setdefault(title, {}).update(keys_of(section))
    for family in models.FAMILIES:
        titled[f'Hyper-parameters: {family.name}'] = dict(keys_of(family.keys))
    return '\n'.join(
        f'{title}\n' + ''.join(map(_entry, keys.values())) for title, keys in titled.items()
    )


def _entry(key: Key) -> str:
    """Return the lines of a key in the reference."""
    limits = f', {key.range_text()}' if key.range_text() else ''
    facts = f'{key.type_text()}{limits}; default: {key.default_words()}'
    return f'  {key.name}: {facts}\n      {key.meaning}\n'
