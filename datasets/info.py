"""Facts about a data set that are known before its files are read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from common.class_maps import MAX_CLASSES
from common.errors import UserError
from common.tasks import SEGMENTATION

MAX_NAME_CHARACTERS = 200  # of a class: an attribute of an HDF5 file has 64 KiB for all names
IGNORE = MAX_CLASSES  # 255, the value of ignored pixels in every label map that a reader returns


class DataError(UserError):
    """A data set is missing, incomplete or wrongly described; the message states the remedy."""


class EmptySplitError(DataError):
    """A data set has no image for a split."""


@dataclass(frozen=True)
class TaskClasses:
    """The classes of one task of a data set.

    Attributes:
        task: Name of the task.
        classes: Names of the classes, by class index.
        palette: Colours of the classes as (red, green, blue), by class index.
        categories: As those of :class:`DatasetInfo`.
    """

    task: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    categories: tuple[str, ...] | None = None


@dataclass(frozen=True)
class DatasetInfo:
    """Name, classes and layout of a data set.

    Attributes:
        name: Name in configs and on command lines.
        classes: Names of the classes, by class index.
        palette: Colours of the classes as (red, green, blue), by class index.
        splits: Names of the splits; ``trainval``, train and val together, is added to them.
        layout: The expected files below the root, in words, for messages.
        source: Where to get the data set, for messages.
        categories: The category of each class, if the official scores include one that is averaged
            over categories; otherwise None.
        folders: Candidates for the root, relative to the folder that the user names: archives
            often contain a folder of their own.
        unmarked: What a folder without any of ``marks`` lacks, for messages.
        beginning: How the user can add it, for messages; ``{root}`` stands for the folder.
        marks: Glob patterns; a folder is a root of this data set if it matches one of them.
        task: The task that ``classes``, ``palette`` and ``categories`` belong to.
        others: The classes of further tasks.
        depths: Names of the tasks whose targets are depth.

    Raises:
        DataError: There are more classes than a label map can hold.
    """

    name: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    splits: tuple[str, ...] = ('train', 'val')
    layout: str = ''
    source: str = ''
    categories: tuple[str, ...] | None = None
    folders: tuple[str, ...] = ('.',)
    marks: tuple[str, ...] = ()
    unmarked: str = ''
    beginning: str = ''
    task: str = SEGMENTATION
    others: tuple[TaskClasses, ...] = ()
    depths: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.classes) > MAX_CLASSES:
            raise DataError(
                f'classes of the data set {self.name}: must be at most {MAX_CLASSES}, '
                f'not {len(self.classes)}'
            )

    def of_task(self, task: str) -> 'DatasetInfo':
        """Return the facts with the classes of a task as ``classes``; the others are kept.

        Raises:
            DataError: The data set has no classes for this task.
        """
        if task == self.task:
            return self
        found = next((other for other in self.others if other.task == task), None)
        if found is None:
            raise DataError(
                f'tasks: the data set {self.name} has no classes for {task}; it has '
                f'{", ".join(self.tasks()) or "none"}'
            )
        own = TaskClasses(self.task, self.classes, self.palette, self.categories)
        return replace(
            self,
            task=task,
            classes=found.classes,
            palette=found.palette,
            categories=found.categories,
            others=(
                *([own] if own.classes else []),
                *(other for other in self.others if other.task != task),
            ),
        )

    def without_classes(self) -> 'DatasetInfo':
        """Return the facts without classes, for tasks that are all depth."""
        return replace(self, classes=(), palette=(), categories=None)

    def tasks(self) -> list[str]:
        """Return the names of all tasks of the data set, sorted."""
        own = [self.task] if self.classes else []
        return sorted({*own, *(other.task for other in self.others), *self.depths})

    def classes_without(self, pixels: Iterable[int]) -> list[str]:
        """Return the names of the classes whose number of pixels is 0, by class index."""
        return [name for name, count in zip(self.classes, pixels) if not count]


def distinct_colours(count: int) -> tuple[tuple[int, int, int], ...]:
    """Return colours for classes that have none: those of PASCAL VOC after black.

    The bits of the class number, three at a time, become the high bits of red, green and blue (VOC
    2012 development kit, VOClabelcolormap.m).
    """

    def colour(index):
        return tuple(
            sum((index >> 3 * bit + channel & 1) << 7 - bit for bit in range(8))
            for channel in range(3)
        )

    return tuple(colour(index) for index in range(1, count + 1))


def long_name(names: Sequence[str]) -> str | None:
    """Return the first name that is too long to be kept in files of weights; None without one."""
    return next((name for name in names if len(name) > MAX_NAME_CHARACTERS), None)


def repeated_name(names: Sequence[str]) -> str | None:
    """Return the first name that occurs twice, also with other blanks; None if all differ."""
    seen: set[str] = set()
    for name in names:
        plain = ' '.join(name.split())
        if plain in seen:
            return plain
        seen.add(plain)
    return None
