"""Refuse outputs that would overwrite files of a data set or be mixed with them."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from common.errors import UserError
from common.inputs import real
from common.writing.protected_files import ProtectedFiles
from datasets.dataset import Sample
from datasets.info import DataError
from datasets.readers import layout
from datasets.readers.folder import DESCRIPTION_FILE
from datasets.registry import describe, reader


def protect_dataset(
    protected: ProtectedFiles,
    name: str,
    root: Path,
    samples: Sequence[Sample] = (),
    list_file: str | os.PathLike[str] | None = None,
) -> None:
    """Add the files of a data set to the inputs of a command.

    Args:
        protected: The inputs of the command.
        name: Name of the data set.
        root: Folder of the data set.
        samples: Samples that the command reads.
        list_file: The list of these samples; None if the reader has found them.
    """
    protected.add('the list of the data set', [list_file])
    protected.add('the description of the data set', [root / DESCRIPTION_FILE])
    protected.add('an image of the data set', (sample.image for sample in samples))
    protected.add('a label of the data set', (sample.label for sample in samples))
    protected.add('a file of the data set', (path for sample in samples for path in sample.files()))
    everything = (path for sample in _all_samples(name, root) for path in sample.files())
    protected.add('a file of the data set', everything, below=root)


def check_folder(
    option: str, folder: Path, name: str, root: Path, samples: Sequence[Sample] = ()
) -> None:
    """Refuse an output folder whose files would be mixed with those of a data set.

    Args:
        option: The option that names the folder.
        folder: The folder, which may exist.
        name: Name of the data set.
        root: Folder of the data set.
        samples: Samples that the command reads.

    Raises:
        UserError: The folder is that of the data set, or one of its images or labels.
    """
    roots = real(root), real(_located(name, root))
    if real(folder) in roots or holds_samples(folder, name, root, samples):
        raise UserError(
            f'{option} {folder}: is a folder of the data set, whose files would be mixed with '
            'results; name another folder'
        )


def check_picture(
    option: str, path: Path, name: str, root: Path, samples: Sequence[Sample] = ()
) -> None:
    """Refuse an output picture among the images or labels of a data set, of which it would be one.

    Arguments are those of :func:`check_folder`.

    Raises:
        UserError: It would be among them.
    """
    if holds_samples(path.parent, name, root, samples):
        raise UserError(
            f'{option} {path}: would be among the images or labels of the data set; name another '
            'folder'
        )


def holds_samples(folder: Path, name: str, root: Path, samples: Sequence[Sample] = ()) -> bool:
    """Return whether a folder belongs to the images or labels of a data set.

    In the folder of the data set that is each folder beside which, or in which, any of them are:
    ``images/new`` does if there is an ``images/train``.
    """
    place, base = real(folder), real(_located(name, root))
    inside = base in place.parents
    known = [*samples, *(_all_samples(name, root) if inside else ())]
    holding = {real(parent) for parent in {p.parent for s in known for p in s.files()}}
    if inside:
        return _first_part(place, base) in {
            _first_part(each, base) for each in holding if base in each.parents
        }
    return place in holding


def _first_part(folder: Path, base: Path) -> str:
    """Return the name of the folder directly below ``base`` that contains ``folder``."""
    return folder.relative_to(base).parts[0]


def _all_samples(name: str, root: Path) -> Iterator[Sample]:
    """Yield the samples of all splits; what cannot be read has no samples."""
    found = _located(name, root)
    with suppress(DataError):
        for split in describe(name, found).splits:
            with suppress(DataError, OSError):
                yield from reader(name).find(found, split)


def _located(name: str, root: Path) -> Path:
    """Return the folder below ``root`` in which the reader finds the data, else ``root``."""
    with suppress(DataError):
        return layout.locate(root, reader(name).INFO)
    return root
