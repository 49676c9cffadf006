"""The inputs and tasks of networks, as far as keys, parameters and checkpoints depend on them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from common.sections import Section, SectionError, keys_of
from common.tasks import TaskKeys, class_count

ORDINALS = ('', 'second_', 'third_', 'fourth_')  # of names that the channels alone suggest


@dataclass(frozen=True)
class Structure:
    """The number of inputs and the channels of the tasks, which determine the parameters.

    Attributes:
        inputs: Number of input pictures.
        channels: Channels of each task; () for segmentation alone, with any number of classes.
    """

    inputs: int = 1
    channels: tuple[int, ...] = ()

    @property
    def is_single(self) -> bool:
        """Whether there is one input and one task."""
        return self.inputs == 1 and len(self.channels) <= 1

    def keywords(self) -> dict[str, Any]:
        """Return keywords of ``models.create`` for this structure, with made-up names of tasks."""
        found: dict[str, Any] = {'inputs': self.inputs} if self.inputs > 1 else {}
        if self.channels:
            found |= {'tasks': self._names(), 'task_channels': list(self.channels)}
        return found

    def options(self) -> str:
        """Return the options of ``python -m models.convert`` for this structure."""
        parts = [f'--inputs {self.inputs}'] if self.inputs > 1 else []
        if self.channels:
            parts += ['--tasks', *self._names(), '--task-channels', *map(str, self.channels)]
        return ' '.join(parts)

    def words(self) -> str:
        """Return the structure in words, such as ``2 inputs and 3 tasks (channels 1, 19, 2)``."""
        inputs = '1 input' if self.inputs == 1 else f'{self.inputs} inputs'
        if not self.channels:
            return f'{inputs} and 1 task'
        tasks = '1 task' if len(self.channels) == 1 else f'{len(self.channels)} tasks'
        return f'{inputs} and {tasks} (channels {", ".join(map(str, self.channels))})'

    def _names(self) -> list[str]:
        """Return a plausible name for each task: its channels do not say more."""
        names: list[str] = []
        for channels in self.channels:
            plain = {1: 'depth', 2: 'motion'}.get(channels, 'segmentation')
            spellings = (f'{ordinal}{plain}' for ordinal in ORDINALS)
            names.append(next(name for name in spellings if name not in names))
        return names


SINGLE = Structure()


def check_takes_tasks(
    values: Mapping[str, Any], network: str, keys: type[Section], able: Iterable[str]
) -> None:
    """Raise ``SectionError`` for keys of several inputs or tasks that a network does not have.

    Args:
        values: Keys of a config.
        network: Name of the network.
        keys: The section of its family.
        able: Names of the families that have these keys.
    """
    if issubclass(keys, TaskKeys):
        return
    for key, declared in keys_of(TaskKeys).items():
        if key not in keys_of(keys) and values.get(key) not in (None, declared.default):
            raise SectionError(
                key,
                f'{network} has one input and one task; networks of {", ".join(able)} have several',
            )


def task_values(
    section: Section, values: Mapping[str, Any], stated_classes: int | None
) -> dict[str, Any]:
    """Return the hyper-parameters that follow from the keys of inputs and tasks.

    Args:
        section: The checked keys of the network.
        values: Values of the variant and the config.
        stated_classes: The config's ``num_classes``; None if that of the variant applies.

    Returns:
        ``num_classes`` and ``task_channels`` of a network with tasks, and ``inputs: None`` for one
        input, so that the hyper-parameters of other networks do not depend on this key.

    Raises:
        SectionError: The number of channels of a task is missing or contradicts ``num_classes``.
    """
    if not isinstance(section, TaskKeys):
        return {}
    found: dict[str, Any] = {'inputs': None} if section.inputs == 1 else {}
    stated = {**values, 'num_classes': stated_classes}
    tasks = TaskKeys.of_config(stated, default_classes=values.get('num_classes'))
    if tasks:
        found['task_channels'] = tuple(task.channels for task in tasks)
        found['num_classes'] = class_count(tasks)
    return found
