"""What a reader is: the module, or the object, that owns what belongs to one data set.

Every reader has ``INFO`` and ``find(root, split)``, and ``decode(path)``, which reads a label file;
or, where the classes depend on the folder, ``info(root)`` and ``decoder(root)`` instead of it.
There may be ``PREPARATION``, the archives to download and the labels to convert; and, where there
is a test server, ``submission(sample, labels)`` with ``SUBMITTED_WITH_PALETTE``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

from datasets.dataset import Sample
from datasets.info import DatasetInfo


@dataclass(frozen=True)
class Archive:
    """A zip or tar file that its authors publish.

    Attributes:
        urls: Where it is; they are tried in turn.
        size: In bytes, about; the unpacked files take as much again.
        folders: What goes where, from paths in the archive to paths below the root; the rest is
            left out.
        digest: The algorithm and the hexadecimal digits that others have published for it.
    """

    urls: tuple[str, ...]
    size: float
    folders: Mapping[str, str]
    digest: tuple[str, str] | None = None

    @property
    def file(self) -> str:
        """The archive's own name."""
        return self.urls[0].rpartition('/')[2]


@dataclass(frozen=True)
class LabelEndings:
    """How the names of label files end: as published, and as converted to class indices."""

    published: str
    converted: str

    def target(self, label: Path) -> Path:
        """Return where the converted form of a published label file belongs."""
        return label.with_name(label.name.removesuffix(self.published) + self.converted)


@dataclass(frozen=True)
class Preparation:
    """How a data set gets onto the disk and into its plainest form.

    Attributes:
        archives: What ``--download`` fetches; none where that is not possible.
        elsewhere: Says how to get it then; ``{root}`` stands for its folder.
        remark: Says what a download leaves to be done; ``{root}`` likewise.
        label_endings: Of data sets whose labels ``--convert`` converts; the others have class
            indices from the start.
    """

    archives: tuple[Archive, ...] = ()
    elsewhere: str = 'put it into {root} yourself'
    remark: str = ''
    label_endings: LabelEndings | None = None


class _Finds(Protocol):
    @property
    def INFO(self) -> DatasetInfo:
        """Facts that are known without reading it."""

    def find(self, root: Path, split: str) -> Sequence[Sample]:
        """Return the samples of a split below the data set's folder."""


@runtime_checkable
class FixedReader(_Finds, Protocol):
    """A reader of a data set whose classes are known: ``INFO`` has them."""

    @property
    def decode(self) -> Callable[..., np.ndarray]:
        """Reads a label file, and its sample's key if there is one, as class indices; is pickled
        for worker processes.
        """


@runtime_checkable
class RootReader(_Finds, Protocol):
    """A reader of data whose classes stand in its folder; ``INFO`` has none."""

    def info(self, root: Path) -> DatasetInfo:
        """Return the facts with the classes."""

    def decoder(self, root: Path) -> Callable[..., np.ndarray]:
        """Return what reads a label file as class indices; it is pickled for worker processes."""


@runtime_checkable
class PreparedReader(Protocol):
    """A reader that knows where its data set comes from."""

    @property
    def PREPARATION(self) -> Preparation:
        """How the data set is downloaded and converted."""


@runtime_checkable
class SubmittingReader(Protocol):
    """A reader of a data set that has a test server."""

    @property
    def SUBMITTED_WITH_PALETTE(self) -> bool:
        """Whether the files have the palette of the data set."""

    def submission(self, sample: Sample, labels: np.ndarray) -> tuple[str, np.ndarray]:
        """Return the name of the file that the server wants, and the values in it."""


Reader: TypeAlias = FixedReader | RootReader
