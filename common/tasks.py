"""The inputs and the tasks of a network: what it reads and what it predicts for every pixel.

A config without the keys of :class:`TaskKeys` has one input picture and one task, segmentation.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from common.class_maps import MAX_CLASSES
from common.sections import Section, SectionError, config_key

CLASSES, DEPTH = 'classes', 'depth'  # the kinds of tasks
SEGMENTATION = 'segmentation'  # the task of a network without the key `tasks`
MAX_INPUTS, MAX_TASKS = 2, 4
PICTURE_CHANNELS = 3  # channels of one input picture
MAX_NAME_CHARACTERS = 32
ALL_TASKS = 'score'  # what the score of all tasks is called where each task has its own
_NAME = re.compile(r'[a-z][a-z0-9]*(_[a-z0-9]+)*')


@dataclass(frozen=True)
class Task:
    """What a network predicts for every pixel.

    Attributes:
        name: Name of the task in configs, scores and file names.
        kind: ``classes``: scores of classes; ``depth``: metres.
        channels: Number of classes; 1 for depth.
        range: Smallest and largest depth in metres that the network returns; None for any.
    """

    name: str
    kind: str
    channels: int
    range: tuple[float, float] | None = None


def kind_of(name: str) -> str:
    """Return the kind of a task by its name: ``depth`` and ``*_depth`` are depth."""
    return DEPTH if name.split('_')[-1] == 'depth' else CLASSES


def channel_slices(tasks: Sequence[Task]) -> list[slice]:
    """Return the channels of each task in the network's maps, which follow one another."""
    ends = list(accumulate(task.channels for task in tasks))
    return [slice(end - task.channels, end) for end, task in zip(ends, tasks)]


def class_count(tasks: tuple[Task, ...]) -> int:
    """Return the channels of the first task of kind ``classes``; 1 if all are depth."""
    return next((task.channels for task in tasks if task.kind == CLASSES), 1)


@dataclass(frozen=True, kw_only=True)
class TaskKeys(Section):
    """Config keys of inputs and tasks, which data, networks and training share.

    Raises:
        SectionError: Names are repeated or no plain words, numbers do not fit the tasks, or keys
            that belong to tasks stand without them.
    """

    inputs: int = config_key(
        1,
        'number of input pictures of a scene, such as optical flow and camera image',
        least=1,
        most=MAX_INPUTS,
    )
    tasks: tuple[str, ...] | None = config_key(
        None,
        f'names of up to {MAX_TASKS} tasks, in the order of the outputs; depth and names that end '
        'in _depth are depth in metres, all others are classes',
        default_text=SEGMENTATION,
    )
    task_channels: tuple[int, ...] | None = config_key(
        None,
        'for each task, the number of its classes; 1 for depth',
        least=1,
        most=MAX_CLASSES,
        default_text='1 for depth and num_classes for segmentation; other tasks need the key',
    )
    depth_range: tuple[float, float] | None = config_key(
        None,
        'smallest and largest depth in metres, to which the network clamps its depth',
        least=0,
        default_text='not clamped',
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tasks is None:
            for key in ('task_channels', 'depth_range'):
                if getattr(self, key) is not None:
                    raise SectionError(key, 'needs the key tasks, which names the tasks')
            return
        _check_names(self.tasks)
        kinds = [kind_of(name) for name in self.tasks]
        if self.task_channels is not None:
            self._check_channels(self.tasks, self.task_channels)
        if self.depth_range is not None:
            if DEPTH not in kinds:
                raise SectionError(
                    'depth_range', f'none of the tasks {", ".join(self.tasks)} is depth'
                )
            least, most = self.depth_range
            if not least < most:
                raise SectionError(
                    'depth_range', f'must increase, such as [0, 128], not [{least:g}, {most:g}]'
                )

    @staticmethod
    def _check_channels(tasks: tuple[str, ...], channels: tuple[int, ...]) -> None:
        if len(channels) != len(tasks):
            raise SectionError(
                'task_channels',
                f'{len(channels)} values for the {len(tasks)} tasks {", ".join(tasks)}; list one '
                'for each task',
            )
        for name, count in zip(tasks, channels):
            if kind_of(name) == DEPTH and count != 1:
                raise SectionError(
                    'task_channels', f'the depth task {name} has 1 channel, not {count}'
                )

    @classmethod
    def of_config(
        cls, values: Mapping[str, Any], default_classes: int | None = None
    ) -> tuple[Task, ...]:
        """Return the tasks of a config, in the order of the network's outputs.

        Args:
            values: All keys of a config, of which ``num_classes`` and those of this section are
                read.
            default_classes: Number of classes of ``segmentation`` if neither ``task_channels`` nor
                ``num_classes`` is set: the network's default.

        Returns:
            The tasks; () without the key ``tasks``.

        Raises:
            SectionError: A value is invalid, a number of channels is missing, or ``num_classes``
                contradicts ``task_channels``.
        """
        keys = TaskKeys.of(values)
        if keys.tasks is None:
            return ()
        stated = values.get('num_classes')
        found = tuple(
            keys._task(i, name, stated or default_classes) for i, name in enumerate(keys.tasks)
        )
        first = next((task for task in found if task.kind == CLASSES), None)
        if first is not None and stated not in (None, first.channels):
            raise SectionError(
                'num_classes',
                f'is {stated}, but task_channels has {first.channels} for {first.name}, the first '
                'task with classes; make them equal, or leave num_classes out',
            )
        return found

    def _task(self, position: int, name: str, num_classes: int | None) -> Task:
        """Return the task at a position of ``tasks``."""
        kind = kind_of(name)
        if self.task_channels is not None:
            channels: int | None = self.task_channels[position]
        else:
            channels = 1 if kind == DEPTH else num_classes if name == SEGMENTATION else None
        if channels is None:
            what = 'num_classes or task_channels' if name == SEGMENTATION else 'task_channels'
            raise SectionError(
                'task_channels', f'must be given: {what} says how many classes {name} has'
            )
        return Task(name, kind, channels, self.depth_range if kind == DEPTH else None)


def is_name(value: Any) -> bool:
    """Return whether a value can be the name of a task."""
    return (
        isinstance(value, str)
        and len(value) <= MAX_NAME_CHARACTERS
        and _NAME.fullmatch(value) is not None
    )


def _check_names(names: tuple[str, ...]) -> None:
    """Raise ``SectionError`` for names that are too many, no plain words, or repeated."""
    if len(names) > MAX_TASKS:
        raise SectionError('tasks', f'must be at most {MAX_TASKS}, not {len(names)}')
    for i, name in enumerate(names):
        if not is_name(name):
            raise SectionError(
                'tasks',
                'a name has lower-case letters, digits and single underscores, such as '
                f'camera_depth, and at most {MAX_NAME_CHARACTERS} characters, not {name!r:.60}',
            )
        if name == ALL_TASKS:
            raise SectionError(
                'tasks', f'{name} is what the score of all tasks is called; choose another name'
            )
        if name in names[:i]:
            raise SectionError('tasks', f'names {name} twice')
