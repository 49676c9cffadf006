"""The samples that a reader finds in a data set, and the files that it does not use."""

import os
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import InputError
from common.terminal.name_list import first_names
from datasets.keys import FLOW

NO_LABEL, NO_IMAGE = 'no label', 'a label without an image'  # reasons why a file is not used
NOT_READ = 'its ending is not read'
NOT_LISTED = 'in no list'


@dataclass(frozen=True)
class SceneFiles:
    """The files of a scene that a network needs.

    Attributes:
        inputs: Number of pictures.
        tasks: Names of the tasks, in order; () for the label alone.
        input_folder: Folder of the first of two pictures; None for that of the data set.
        input_kind: ``flow`` or ``image``, what the first of two pictures is; None for what the data
            set says.
    """

    inputs: int = 1
    tasks: tuple[str, ...] = ()
    input_folder: str | None = None
    input_kind: str | None = None


ONE_IMAGE_AND_LABEL = SceneFiles()


@dataclass(frozen=True)
class Sample:
    """An image file and its label file, or all pictures and targets of a scene.

    Attributes:
        name: Unique name in the data set, without file extension. Results are written under it, so
            it may contain folders (``frankfurt/frankfurt_000000_000294``).
        image: The image file.
        label: The label file; None in a split without labels.
        key: Outlines of the objects in this image, if one label file holds those of many images;
            otherwise None.
        pictures: All pictures of the scene in the network's order, of which ``image`` is one; ()
            if there is no other.
        targets: The file of each task; () for the label alone, or without any.
        companions: Further files that the targets need, such as a camera's.
    """

    name: str
    image: Path
    label: Path | None
    key: bytes | None = None
    pictures: tuple[Path, ...] = ()
    targets: tuple[tuple[str, Path], ...] = ()
    companions: tuple[Path, ...] = ()

    @property
    def has_targets(self) -> bool:
        """Whether there is a label, or a target of any task."""
        return self.label is not None or bool(self.targets)

    def target(self, task: str) -> Path | None:
        """Return the file of a task; None without one."""
        return dict(self.targets).get(task)

    def files(self) -> list[Path]:
        """Return all files of the sample, each once."""
        label = () if self.label is None else (self.label,)
        targets = (path for _, path in self.targets)
        everything = (self.image, *self.pictures, *label, *targets, *self.companions)
        return list(dict.fromkeys(everything))


@dataclass(frozen=True)
class UnusedFile:
    """A file among the images or labels of a data set that no sample uses.

    Attributes:
        path: The file.
        reason: Why it is not used, in a few words, such as ``NO_LABEL``.
    """

    path: Path
    reason: str


@dataclass(frozen=True)
class FoundSamples(Sequence[Sample]):
    """The samples that a reader finds, and the files beside them that it does not use.

    Attributes:
        samples: The samples in order.
        unused: The files that are not used.
    """

    samples: tuple[Sample, ...]
    unused: tuple[UnusedFile, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        return self.samples[index]

    def with_unused(self, files: Iterable[UnusedFile]) -> 'FoundSamples':
        """Return the same samples with further unused files."""
        return FoundSamples(self.samples, (*self.unused, *files))


def describe_unused(unused: Sequence[UnusedFile], root: Path | None) -> str:
    """Return ``; 37 not used: `` with the first names and reasons; empty if all files are used.

    Args:
        unused: The files.
        root: The folder to which the names are relative; None for absolute names.
    """
    if not unused:
        return ''
    seen: Counter[str] = Counter()
    places = []
    for number, file in enumerate(unused):  # the first file of every reason comes first
        places.append((seen[file.reason], number))
        seen[file.reason] += 1
    names = []
    for _, number in sorted(places):
        path, reason = unused[number].path, unused[number].reason
        inside = root is not None and path.is_relative_to(root)
        names.append(f'{path.relative_to(root) if inside and root else path} ({reason})')
    return f'; {len(unused)} not used: {first_names(names)}'


def without_image(kind: str) -> str:
    """Return the reason why a label, or another partner of an image, is not used."""
    return NO_IMAGE if kind == 'label' else f'{kind} without an image'


def called(kind: str | None) -> str:
    """Return what messages call the first of two pictures: ``flow``, or ``first picture``."""
    return FLOW if kind == FLOW else 'first picture'


def count_of(number: int, noun: str) -> str:
    """Return a number of things: ``1 pair``, ``2 pairs``."""
    return f'{number} {noun}{"" if number == 1 else "s"}'


def regular_file(path: Path) -> Path:
    """Return a path; raise ``InputError`` for a pipe or a device, whose reader could wait forever.

    A missing file is left to its reader.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return path
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise InputError(f'{path}: cannot be read: is a pipe or a device, not a regular file')
    return path
