"""The classes of a config's tasks: its own, those of its data set, or made up where it has none."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import datasets
import models
from common.errors import UserError
from common.sections import Section, SectionError, config_key, keys_of
from common.tasks import CLASSES, Task, TaskKeys, kind_of
from common.terminal.short_repr import short_text
from datasets.info import DatasetInfo, TaskClasses, long_name, repeated_name
from datasets.keys import DataKeys
from engine.config.config import Config

KEY, TABLE_KEYS = 'task_classes', ('classes', 'palette')


@dataclass(frozen=True, kw_only=True)
class TaskClassKeys(Section):
    """The classes of all tasks but the first one that has any, which has keys of its own."""

    task_classes: dict[str, Any] | None = config_key(
        None,
        'names and colours of the classes of the tasks after the first one with classes, as '
        '`classes` and `palette` are those of the first: `{motion: {classes: [static, moving]}}`',
        default_text="the data set's",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.tables()

    def tables(self) -> dict[str, TaskClasses]:
        """Return the classes of each task that the key names; raises ``SectionError``."""
        return {task: _table(task, value) for task, value in (self.task_classes or {}).items()}


def sections() -> list[type[Section]]:
    """Return the sections of inputs and tasks: what they are, and their classes."""
    return [TaskKeys, TaskClassKeys]


def _table(task: str, value: Any) -> TaskClasses:
    if not isinstance(value, Mapping) or not {'classes'} <= value.keys() <= set(TABLE_KEYS):
        raise SectionError(
            KEY,
            f'{short_text(task)}: must be a block with classes, their names, and with palette, '
            'their colours, or without',
        )
    known = keys_of(DataKeys)
    try:
        found = {key: known[key].convert(value[key]) for key in TABLE_KEYS if value.get(key)}
    except SectionError as error:
        raise SectionError(KEY, f'{short_text(task)}: {error}') from error
    names = found.get('classes', ())
    colours = found.get('palette', ())
    long, repeated = long_name(names), repeated_name(names)
    problem = None
    if colours and len(colours) != len(names):
        problem = f'{len(colours)} colours for {len(names)} classes; list one for each'
    elif long is not None:
        problem = f'{short_text(long)} has {len(long)} characters; shorten it'
    elif repeated is not None:
        problem = f'has {repeated} twice'
    if problem is not None:
        raise SectionError(KEY, f'{short_text(task)}: {problem}')
    return TaskClasses(task, names, colours)


def tables_of(info: DatasetInfo, tasks: Iterable[Task]) -> dict[str, dict[str, Any]]:
    """Return the value of ``task_classes`` for the tasks of a network.

    Args:
        info: Facts with the classes of each task.
        tasks: The tasks.
    """
    names = {task.name for task in tasks}
    return {
        other.task: {
            'classes': list(other.classes),
            'palette': [list(map(int, colour)) for colour in other.palette],
        }
        for other in info.others
        if other.task in names
    }


def of_first_task(config: Config, known: DatasetInfo) -> DatasetInfo:
    """Return facts about a data set with the classes of the first task that has any.

    Without the key ``tasks`` these are the facts as they are. A task that is unknown to the data
    set, and tasks that are all depth, have no classes.
    """
    names = TaskKeys.of(config).tasks
    if names is None:
        return known
    first = next((name for name in names if kind_of(name) == CLASSES), None)
    if first is None:
        return known.without_classes()
    return of_task(known, first)


def of_task(known: DatasetInfo, task: str) -> DatasetInfo:
    """Return facts with the classes of a task; without any if the data set does not have it."""
    try:
        return known.of_task(task)
    except datasets.DataError:
        return replace(known.without_classes(), task=task)


def check_first_task(config: Config, known: DatasetInfo) -> None:
    """Raise ``UserError`` if ``task_channels`` of the first task are not those of the data set."""
    if TaskKeys.of(config).task_channels is None:
        return
    first = next((task for task in models.describe(config).tasks if task.kind == CLASSES), None)
    if first is not None and known.classes:
        _check_count(config, first, known)


def with_all_tasks(config: Config, known: DatasetInfo) -> DatasetInfo:
    """Return facts that have classes for each task of a config; without the key ``tasks`` all.

    Args:
        config: The config, whose ``task_classes`` override those of the data set.
        known: Facts with the classes of the first task that has any.

    Raises:
        UserError: ``task_channels`` has another number of classes for a task than the config or the
            data set, or ``task_classes`` names no further task with classes.
    """
    with config.naming_origins():
        given = TaskClassKeys.of(config).tables()
        _check_names(config, given)
    if TaskKeys.of(config).tasks is None:
        return known
    others = {other.task: other for other in known.others}
    for task in further_tasks(config):
        own, found = given.get(task.name), others.get(task.name)
        if own is not None:
            others[task.name] = _over(own, found)
            if len(own.classes) != task.channels:
                raise UserError(
                    f'{KEY}: {len(own.classes)} classes for {task.name}, but its task_channels are '
                    f'{task.channels}; list one name for each ({config.origin(KEY)})'
                )
        elif found is not None:
            _check_count(config, task, known.of_task(task.name))
        else:
            names = tuple(f'class {i}' for i in range(task.channels))
            palette = datasets.distinct_colours(task.channels)
            others[task.name] = TaskClasses(task.name, names, palette)
    return replace(known, others=tuple(others.values()))


def _over(own: TaskClasses, found: TaskClasses | None) -> TaskClasses:
    """Return the classes of a config over those of the data set, whose colours stay if they fit."""
    fitting = found.palette if found and len(found.palette) == len(own.classes) else ()
    palette = own.palette or fitting or datasets.distinct_colours(len(own.classes))
    if found and found.classes == own.classes:
        return replace(found, palette=palette)
    return replace(own, palette=palette)


def further_tasks(config: Config) -> list[Task]:
    """Return the tasks with classes after the first one."""
    return [task for task in models.describe(config).tasks if task.kind == CLASSES][1:]


def without_names(config: Config, known: DatasetInfo) -> list[str]:
    """Return the tasks whose classes have names in neither the config nor the data set.

    Args:
        config: The config.
        known: Facts of the data set with the classes of the first task that has any.
    """
    named = {*TaskClassKeys.of(config).tables(), *(other.task for other in known.others)}
    tasks = [task.name for task in models.describe(config).tasks if task.kind == CLASSES]
    has_first = bool(DataKeys.of(config).classes or known.classes)
    return [*tasks[: not has_first], *(name for name in tasks[1:] if name not in named)]


def _check_names(config: Config, given: Iterable[str]) -> None:
    """Raise ``SectionError`` if ``task_classes`` names another task than those after the first."""
    possible = [task.name for task in further_tasks(config)]
    for name in given:
        if name not in possible:
            raise SectionError(
                KEY,
                f'{short_text(name)}: no task with classes after the first one'
                f'{", which are " + ", ".join(possible) if possible else ""}; the names of the '
                'first are the key classes',
            )


def _check_count(config: Config, task: Task, known: DatasetInfo) -> None:
    if len(known.classes) != task.channels:
        raise UserError(
            f'task_channels: {task.channels} for {task.name}, but the data set {known.name} has '
            f'{len(known.classes)} classes for it, {", ".join(known.classes[:3])}'
            f'{", ..." if len(known.classes) > 3 else ""} ({config.origin("task_channels")})'
        )
