"""The registry of data sets, and the function that opens a split of one."""

import difflib
import os
import pickle
from collections.abc import Sequence
from pathlib import Path

from common.registry import Registry
from common.terminal.short_repr import short_repr, short_text
from datasets import opening
from datasets.dataset import Dataset
from datasets.info import DataError, DatasetInfo, EmptySplitError
from datasets.keys import DEFAULT_READING, ImageReading
from datasets.readers import (
    ade20k,
    ade20k32,
    camvid,
    cityscapes,
    cocoseg21,
    cocostuff10k,
    cocostuff164k,
    folder,
    kitti_depth,
    layout,
    voc,
)
from datasets.readers.contract import (
    FixedReader,
    Preparation,
    PreparedReader,
    Reader,
    RootReader,
    TaskReader,
)
from datasets.readers.lists import read_list
from datasets.samples import (
    ONE_IMAGE_AND_LABEL,
    FoundSamples,
    Sample,
    SceneFiles,
    describe_unused,
)

TRAINVAL = 'trainval'
UNLABELLED_SPLIT = 'test'  # the only split whose images may lack labels
READERS: Registry[Reader] = Registry('a data set')


def register(new: Reader) -> None:
    """Register a reader, so that configs and commands can name its data set (``INFO.name``).

    Args:
        new: A module or an object with the members of :mod:`datasets.readers.contract`.

    Raises:
        UserError: The name is taken, a member is missing, or ``decode`` cannot be pickled for
            worker processes.
    """
    if not isinstance(new, FixedReader | RootReader):
        raise DataError(
            f'{getattr(new, "__name__", new)}: cannot be registered as a data set; define '
            'INFO, find and decode, or INFO, find, info and decoder in it'
        )
    name = new.INFO.name
    if isinstance(new, FixedReader):
        try:
            pickle.dumps(new.decode)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise DataError(
                f'the data set {name}: decode cannot be sent to worker processes ({error}); '
                'define it as a function of a module'
            ) from error
    READERS.add(name, new)


def names() -> list[str]:
    """Return the names of all data sets."""
    return list(READERS)


def reader(name: str) -> Reader:
    """Return the reader of a data set.

    Raises:
        DataError: The name is unknown; the message suggests the nearest names.
    """
    if name not in READERS:
        text = short_text(name)
        nearest = difflib.get_close_matches(text, READERS, n=3, cutoff=0.5) or list(READERS)
        raise DataError(
            f'no data set is called {short_repr(name)}; the nearest are {", ".join(nearest)}'
        )
    return READERS[name]


def preparation(name: str) -> Preparation:
    """Return how a data set is downloaded and converted.

    The result is empty for an unregistered name, because a program can build a data set without a
    reader.
    """
    known = READERS.get(name)
    return known.PREPARATION if isinstance(known, PreparedReader) else Preparation()


def describe(name: str, root: str | os.PathLike[str] | None = None) -> DatasetInfo:
    """Return the facts about a data set; see :func:`datasets.info`."""
    known = reader(name)
    if root is None or not isinstance(known, RootReader):
        return known.INFO
    return known.info(layout.locate(Path(root), known.INFO, _others(name)))


def open(
    name: str,
    root: str | os.PathLike[str],
    split: str,
    list_file: str | os.PathLike[str] | None = None,
    *,
    complete: bool = True,
    reading: ImageReading = DEFAULT_READING,
    wanted: SceneFiles = ONE_IMAGE_AND_LABEL,
) -> Dataset:
    """Return a split of a data set.

    Args:
        name: Name of the data set.
        root: Folder of the data set.
        split: One of ``describe(name).splits``, or ``trainval``.
        list_file: A file with an image and a label per line (see lists.py); it replaces the files
            that the reader finds.
        complete: Refuse images without a label, except in a test split. If False, such a sample
            names the expected label file, so that the caller can report all missing ones.
        reading: Settings of the conversion of image files.
        wanted: The pictures and the tasks; by default one image and its label.

    Raises:
        DataError: The name or the split is unknown, the folder holds no such data, a label or
            another file is missing, or two samples have the same name.
    """
    known, root = reader(name), Path(root)
    _check_split(known.INFO, split)
    if list_file is None or isinstance(known, RootReader):
        root = layout.locate(root, known.INFO, _others(name))
    info = describe(name, root)
    if not info.classes and not wanted.tasks:
        raise DataError(
            f'{root}: the data set {name} has no classes for segmentation; set tasks, of which it '
            f'has {", ".join(info.tasks())}'
        )
    if wanted != ONE_IMAGE_AND_LABEL:
        opening.check_list(name, list_file)
        wanted = opening.check_wanted(known, info, root, wanted)
    found = _found(known, root, split, list_file, wanted)
    if not found.samples:
        raise EmptySplitError(
            f'{list_file or root}: nothing found for the split {split}; '
            f'expected: {known.INFO.layout}{describe_unused(found.unused, root)}'
        )
    _check_names(found)
    if complete and wanted != ONE_IMAGE_AND_LABEL:
        opening.check_files(found.samples, wanted, with_targets=split != UNLABELLED_SPLIT)
    if complete and split != UNLABELLED_SPLIT and not wanted.tasks:
        _check_labels(found)
    decode = known.decoder(root) if isinstance(known, RootReader) else known.decode
    unused = tuple({file.path: file for file in found.unused}.values())
    dataset = Dataset(info, split, found.samples, decode, reading, unused=unused, root=root)
    if wanted == ONE_IMAGE_AND_LABEL:
        return dataset
    return opening.with_scenes(dataset, known, root, wanted)


def _found(
    known: Reader,
    root: Path,
    split: str,
    list_file: str | os.PathLike[str] | None,
    wanted: SceneFiles,
) -> FoundSamples:
    """Return what a reader or a list finds; a reader may return samples only."""
    if list_file is not None:
        return FoundSamples(tuple(read_list(Path(list_file), root)))
    trainval = split == TRAINVAL and TRAINVAL not in known.INFO.splits
    splits = ('train', 'val') if trainval else (split,)
    if isinstance(known, TaskReader) and wanted != ONE_IMAGE_AND_LABEL:
        parts: list[Sequence[Sample]] = [known.find_scenes(root, s, wanted) for s in splits]
    else:
        parts = [known.find(root, name) for name in splits]
    unused = [file for part in parts if isinstance(part, FoundSamples) for file in part.unused]
    return FoundSamples(tuple(sample for part in parts for sample in part), tuple(unused))


def _others(name: str) -> list[DatasetInfo]:
    return [other.INFO for key, other in READERS.items() if key != name]


def _check_split(known: DatasetInfo, split: str) -> None:
    splits = tuple(dict.fromkeys((*known.splits, TRAINVAL)))
    if split not in splits:
        raise DataError(
            f'{known.name} has no split {short_repr(split)}; there are {", ".join(splits)}'
        )


def _check_names(samples: Sequence[Sample]) -> None:
    """Refuse duplicate names, because results are written under them."""
    seen: dict[str, Path] = {}
    for sample in samples:
        if sample.name in seen:
            raise DataError(
                f'{sample.image} and {seen[sample.name]} are both called {sample.name}; an image '
                'may occur only once in a split, or in train and val together'
            )
        seen[sample.name] = sample.image


def _check_labels(samples: Sequence[Sample]) -> None:
    folders = {sample.label.parent for sample in samples if sample.label}
    try:
        there = {path: set(os.listdir(path)) if path.is_dir() else set() for path in folders}
    except OSError as error:
        raise DataError(f'{error.filename}: cannot be read ({error.strerror})') from error
    missing = [
        sample
        for sample in samples
        if sample.label is None or sample.label.name not in there[sample.label.parent]
    ]
    if missing:
        first = missing[0]
        wanted = f', {first.label} is missing' if first.label else ''
        raise DataError(
            f'{first.image}: no label{wanted}; {len(missing)} of {len(samples)} images have none: '
            'add the labels, or move these images away'
        )


register(cityscapes)
register(camvid)
register(ade20k)
register(ade20k32)
register(voc)
register(cocostuff164k)
register(cocostuff10k)
register(cocoseg21)
register(kitti_depth)
register(folder)
