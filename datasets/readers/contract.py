"""The interface of a reader, the module or object with everything specific to one data set.

Every reader has ``INFO``, ``find(root, split)`` and ``decode(path)``, which reads a label file. A
reader whose classes depend on the folder has ``info(root)`` and ``decoder(root)`` instead of
``decode``. Optional members are ``PREPARATION``, with the archives to download and the labels to
convert, and, for a data set with a test server, ``submission(sample, labels)`` with
``SUBMITTED_WITH_PALETTE``. A data set with further pictures of each scene, or with targets of other
tasks than segmentation, has the members of :class:`TaskReader` and names its tasks in ``INFO``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

from datasets.info import DatasetInfo
from datasets.samples import FoundSamples, Sample, SceneFiles


@dataclass(frozen=True)
class Archive:
    """A zip or tar file that its authors publish.

    Attributes:
        urls: Addresses, tried in turn.
        size: Approximate size in bytes; the unpacked files need about as much again.
        folders: Target paths below the root, by path in the archive; the rest is not unpacked.
        digest: Algorithm and hexadecimal digest, as published by others; None if there is none.
    """

    urls: tuple[str, ...]
    size: float
    folders: Mapping[str, str]
    digest: tuple[str, str] | None = None

    @property
    def file(self) -> str:
        """File name of the archive."""
        return self.urls[0].rpartition('/')[2]


@dataclass(frozen=True)
class LabelEndings:
    """The endings of label file names, published and converted to class indices.

    Attributes:
        published: Ending of a published label file.
        converted: Ending of the converted file beside it.
    """

    published: str
    converted: str

    def target(self, label: Path) -> Path:
        """Return the path of the converted form of a published label file."""
        return label.with_name(label.name.removesuffix(self.published) + self.converted)


@dataclass(frozen=True)
class Preparation:
    """How to download a data set and convert its labels.

    Attributes:
        archives: Archives for ``--download``; empty if there is no automatic download.
        elsewhere: Instructions for users if ``archives`` is empty; ``{root}`` stands for the folder
            of the data set.
        remark: Remaining steps after a download; ``{root}`` has the same meaning.
        label_endings: File name endings of the labels that ``--convert`` converts; None if the
            published labels already contain class indices.
    """

    archives: tuple[Archive, ...] = ()
    elsewhere: str = 'put it into {root} yourself'
    remark: str = ''
    label_endings: LabelEndings | None = None


class _SampleFinder(Protocol):
    """The members that all readers share."""

    @property
    def INFO(self) -> DatasetInfo:
        """Facts that are known before the files are read."""

    def find(self, root: Path, split: str) -> Sequence[Sample]:
        """Return the samples of a split; ``root`` is the folder of the data set.

        A :class:`datasets.samples.FoundSamples` also names the files that are not used.
        """


@runtime_checkable
class FixedReader(_SampleFinder, Protocol):
    """A reader of a data set with fixed classes, which ``INFO`` contains."""

    @property
    def decode(self) -> Callable[..., np.ndarray]:
        """Function that reads a label file as class indices; workers receive it pickled.

        Its arguments are the path and, if the sample has one, its key.
        """


@runtime_checkable
class RootReader(_SampleFinder, Protocol):
    """A reader that finds the classes in the data folder; its ``INFO`` has none."""

    def info(self, root: Path) -> DatasetInfo:
        """Return the facts about the data in a folder, including its classes."""

    def decoder(self, root: Path) -> Callable[..., np.ndarray]:
        """Return the function that reads a label file as class indices; it must be picklable."""


@runtime_checkable
class TaskReader(Protocol):
    """A reader of a data set with several pictures of a scene, or with several tasks."""

    def first_input(self, root: Path) -> tuple[str, str] | None:
        """Return folder and kind of the first of two pictures of each scene; None without any.

        They are the defaults of the config keys ``input_folder`` and ``input_kind``.
        """

    def find_scenes(self, root: Path, split: str, wanted: SceneFiles) -> FoundSamples:
        """Return the samples of a split with the pictures and targets that are wanted.

        A sample can name files that are missing, which the caller reports. Its ``label`` is set by
        the caller, too.

        Args:
            root: Folder of the data set.
            split: Name of the split.
            wanted: Complete, with folder and kind of the first picture if there are two.
        """

    def target_decoder(self, root: Path, task: str) -> Callable[[Path], np.ndarray]:
        """Return the picklable function that reads the targets of a task other than segmentation.

        Its result is class indices as ``decode`` returns them, or of a depth task metres, (H, W)
        float32, with 0 for unknown pixels.
        """


@runtime_checkable
class PreparedReader(Protocol):
    """A reader that defines how to download or convert its data set."""

    @property
    def PREPARATION(self) -> Preparation:
        """How to download and convert the data set."""


@runtime_checkable
class SubmittingReader(Protocol):
    """A reader of a data set with a test server."""

    @property
    def SUBMITTED_WITH_PALETTE(self) -> bool:
        """Whether the submitted files have the palette of the data set."""

    def submission(self, sample: Sample, labels: np.ndarray) -> tuple[str, np.ndarray]:
        """Return the file name that the server expects, and the pixel values."""


Reader: TypeAlias = FixedReader | RootReader
