"""The classes of a config's tasks: those of its data set, or made up where it has none."""

from dataclasses import replace

import datasets
import models
from common.errors import UserError
from common.tasks import CLASSES, Task, TaskKeys, kind_of
from datasets.info import DatasetInfo, TaskClasses
from engine.config.config import Config


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
    try:
        return known.of_task(first)
    except datasets.DataError:
        return replace(known.without_classes(), task=first)


def check_first_task(config: Config, known: DatasetInfo) -> None:
    """Raise ``UserError`` if ``task_channels`` of the first task are not those of the data set."""
    if TaskKeys.of(config).task_channels is None:
        return
    first = next((task for task in models.describe(config).tasks if task.kind == CLASSES), None)
    if first is not None and known.classes:
        _check_count(config, first, known)


def with_all_tasks(config: Config, known: DatasetInfo) -> DatasetInfo:
    """Return facts that have classes for each task of a config.

    Args:
        config: The config.
        known: Facts with the classes of the first task that has any.

    Raises:
        UserError: ``task_channels`` has another number of classes for a task than the data set.
    """
    others = {other.task: other for other in known.others}
    for task in models.describe(config).tasks:
        if task.kind != CLASSES or task.name == known.task:
            continue
        if task.name in others:
            _check_count(config, task, known.of_task(task.name))
        else:
            names = tuple(f'class {i}' for i in range(task.channels))
            palette = datasets.distinct_colours(task.channels)
            others[task.name] = TaskClasses(task.name, names, palette)
    return replace(known, others=tuple(others.values()))


def _check_count(config: Config, task: Task, known: DatasetInfo) -> None:
    if len(known.classes) != task.channels:
        raise UserError(
            f'task_channels: {task.channels} for {task.name}, but the data set {known.name} has '
            f'{len(known.classes)} classes for it, {", ".join(known.classes[:3])}'
            f'{", ..." if len(known.classes) > 3 else ""} ({config.origin("task_channels")})'
        )
