"""The table of data sets, and how a split of one is opened."""

import difflib
import os
import pickle
from collections.abc import Sequence
from pathlib import Path

from common.registry import Registry
from datasets.dataset import Dataset, Sample
from datasets.info import DataError, DatasetInfo
from datasets.readers import (
    ade20k,
    ade20k32,
    camvid,
    cityscapes,
    cocoseg21,
    cocostuff10k,
    cocostuff164k,
    folder,
    layout,
    voc,
)
from datasets.readers.contract import (
    FixedReader,
    Preparation,
    PreparedReader,
    Reader,
    RootReader,
)
from datasets.readers.lists import read_list

TRAINVAL = 'trainval'
WITHOUT_LABELS = 'test'  # the only split whose images may be without labels
READERS: Registry[Reader] = Registry('a data set')


def register(new: Reader) -> None:
    """Let configs and commands name a data set: ``reader.INFO.name``.

    Args:
        new: A module or an object; :mod:`datasets.readers.contract` says what it has.

    Raises:
        UserError: Another one has the name, something is missing, or ``decode`` cannot be pickled,
            as worker processes need it.
    """
    if not isinstance(new, FixedReader | RootReader):
        raise DataError(
            f'{getattr(new, "__name__", new)}: cannot be registered as a data set; it needs '
            'INFO, find and decode, or INFO, find, info and decoder'
        )
    name = new.INFO.name
    if isinstance(new, FixedReader):
        try:
            pickle.dumps(new.decode)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise DataError(
                f'the data set {name}: decode cannot be sent to worker processes ({error}); make '
                'it a function of a module'
            ) from error
    READERS.add(name, new)


def names() -> list[str]:
    """Return every data set name."""
    return list(READERS)


def reader(name: str) -> Reader:
    """Return the reader of a data set.

    Raises:
        DataError: None is called so; the message has the nearest names.
    """
    if name not in READERS:
        nearest = difflib.get_close_matches(str(name), READERS, n=3, cutoff=0.5) or list(READERS)
        raise DataError(f'no data set is called {name!r}; the nearest are {", ".join(nearest)}')
    return READERS[name]


def preparation(name: str) -> Preparation:
    """Return how a data set is downloaded and converted; nothing for a name without a reader, as
    data has that a program has put together itself.
    """
    known = READERS.get(name)
    return known.PREPARATION if isinstance(known, PreparedReader) else Preparation()


def describe(name: str, root: str | os.PathLike[str] | None = None) -> DatasetInfo:
    """Return what :func:`datasets.info` does."""
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
) -> Dataset:
    """Return a split of a data set.

    Args:
        name: The data set.
        root: Its folder.
        split: One of ``describe(name).splits``, or ``trainval``.
        list_file: A file with an image and a label a line (see lists.py), which takes the place of
            what the reader finds.
        complete: An image without a label is an error, except in a test split; otherwise its sample
            names the label file that should be there, so that one can report them all.

    Raises:
        DataError: There are no samples.
    """
    known, root = reader(name), Path(root)
    _check_split(known.INFO, split)
    if list_file is None or isinstance(known, RootReader):
        root = layout.locate(root, known.INFO, _others(name))
    samples: Sequence[Sample]
    if list_file is not None:
        samples = read_list(Path(list_file), root)
    elif split == TRAINVAL and TRAINVAL not in known.INFO.splits:
        samples = [*known.find(root, 'train'), *known.find(root, 'val')]
    else:
        samples = known.find(root, split)
    if not samples:
        raise DataError(
            f'{list_file or root}: nothing found for the split {split}; '
            f'expected: {known.INFO.layout}'
        )
    _check_names(samples)
    if complete and split != WITHOUT_LABELS:
        _check_labels(samples)
    decode = known.decoder(root) if isinstance(known, RootReader) else known.decode
    return Dataset(describe(name, root), split, tuple(samples), decode)


def _others(name: str) -> list[DatasetInfo]:
    return [other.INFO for key, other in READERS.items() if key != name]


def _check_split(known: DatasetInfo, split: str) -> None:
    splits = tuple(dict.fromkeys((*known.splits, TRAINVAL)))
    if split not in splits:
        raise DataError(f'{known.name} has no split {split!r}; there are {", ".join(splits)}')


def _check_names(samples: Sequence[Sample]) -> None:
    """Refuse names that stand twice: results are written under them."""
    seen: dict[str, Path] = {}
    for sample in samples:
        if sample.name in seen:
            raise DataError(
                f'{sample.image} and {seen[sample.name]} are both called {sample.name}; an image '
                'may be in a split, or in train and val together, only once'
            )
        seen[sample.name] = sample.image


def _check_labels(samples: Sequence[Sample]) -> None:
    folders = {sample.label.parent for sample in samples if sample.label}
    there = {path: set(os.listdir(path)) if path.is_dir() else set() for path in folders}
    missing = [
        sample
        for sample in samples
        if sample.label is None or sample.label.name not in there[sample.label.parent]
    ]
    if missing:
        first = missing[0]
        wanted = f', {first.label} is not there' if first.label else ''
        raise DataError(
            f'{first.image}: no label{wanted}; {len(missing)} of {len(samples)} images have none: '
            'complete the labels, or move these images away'
        )


register(cityscapes)
register(camvid)
register(ade20k)
register(ade20k32)
register(voc)
register(cocostuff164k)
register(cocostuff10k)
register(cocoseg21)
register(folder)
