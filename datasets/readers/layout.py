"""Find the root of a data set from the user's folder, and pair images with labels."""

import difflib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from shlex import quote

from common import PROJECT, files
from common.inputs import IMAGE_SUFFIXES, real
from common.terminal.short_repr import short_repr
from datasets.info import DataError, DatasetInfo
from datasets.readers.lists import list_lines, names_meant
from datasets.readers.trees import without
from datasets.samples import NO_IMAGE, FoundSamples, Sample

IMAGES = IMAGE_SUFFIXES
PNG = ('.png',)
# Levels of folders above and below a wrong root in which the right one is searched.
LEVELS_ABOVE, LEVELS_BELOW = 3, 2


def data_root(name: str, given: str | os.PathLike | None = None) -> Path:
    """Return the folder of a data set.

    Args:
        name: Name of the data set.
        given: The user's folder, in which ``~`` is expanded. By default it is ``data/<name>`` in
            the working directory, or in the project if only that exists.
    """
    if given:
        return files.expanded(given, 'write the full path of the folder')
    root = Path('data', name)
    return PROJECT / root if not root.is_dir() and (PROJECT / root).is_dir() else root


def check_first_folder(folder: Path, images: Path) -> None:
    """Raise ``DataError`` if the first pictures of scenes would be the camera images.

    Args:
        folder: The folder of the first pictures.
        images: The folder of the camera images.
    """
    first, own = real(folder), real(images)
    if own == first or first in own.parents:
        raise DataError(
            f'{folder}: input_folder must name the folder of the first pictures alone, but the '
            f'camera images are in {images}'
        )


def locate(root: Path, info: DatasetInfo, others: Iterable[DatasetInfo] = ()) -> Path:
    """Return the root of a data set: ``root``, or one of ``info.folders`` below it.

    Args:
        root: The user's folder.
        info: The data set.
        others: All other data sets, to recognise a wrong folder.

    Raises:
        DataError: The data set is not there; the message suggests the right folder, or the data
            set that the folder contains instead.
    """
    if not root.is_dir():
        raise DataError(f'{root}: no such folder; expected there: {info.layout}. {info.source}')
    if not os.access(root, os.R_OK | os.X_OK):
        raise DataError(f'{root}: cannot be read (Permission denied)')
    if not info.marks:
        return root
    found = _located(root, info)
    if found is None:
        raise DataError(f'{root}: {_advice(root, info, others)}')
    return found


def _located(root: Path, info: DatasetInfo) -> Path | None:
    folders = (root / folder for folder in info.folders)
    return next((folder for folder in folders if _is_marked(folder, info)), None)


def _is_marked(folder: Path, info: DatasetInfo) -> bool:
    there = os.access(folder, os.R_OK | os.X_OK)  # pathlib raises an error without permission
    return there and any(next(folder.glob(mark), None) is not None for mark in info.marks)


def _advice(root: Path, info: DatasetInfo, others: Iterable[DatasetInfo]) -> str:
    absolute = root.resolve()
    near = [*_folders_below(absolute), *list(absolute.parents)[:LEVELS_ABOVE]]
    meant = next((folder for folder in near if _located(folder, info)), None)
    lacking = info.unmarked or f'does not contain {info.name}'
    if meant is not None:
        return f'{lacking}; it is in {meant}; name that folder'
    expected = f'{info.layout}. {info.source}'
    other = next((other.name for other in others if _located(root, other)), None)
    if other is not None:
        looks = f'it looks like {other}; is that the data set?'
        return f'{lacking}; {looks} Expected: {expected}'
    beginning = info.beginning.replace('{root}', quote(str(root)))
    remedy = f'; {beginning}' if beginning else ''
    return f'{lacking}{remedy}{_misnamed(root, info)}; expected: {expected}'


def _misnamed(root: Path, info: DatasetInfo) -> str:
    """Return the advice to rename a file whose name is nearly a mark; empty without one."""
    names = {path.name.lower(): path.name for path in root.iterdir() if path.is_file()}
    for mark in info.marks:
        for near in difflib.get_close_matches(mark, names, n=1, cutoff=0.85):
            return f', or rename {names[near]} to {mark}'
    return ''


def _folders_below(root: Path) -> Iterator[Path]:
    for folder, names, _ in os.walk(root):
        yield Path(folder)
        if len(Path(folder).relative_to(root).parts) == LEVELS_BELOW:
            names.clear()  # os.walk goes no deeper then
        names.sort()


def listing(folder: Path, endings: tuple[str, ...], suffix: str = '') -> dict[str, Path]:
    """List the files of a folder by name, without those of its sub-folders.

    Args:
        folder: The folder; a missing one has no files.
        endings: File extensions to list, in lower case.
        suffix: Suffix that the stem of a listed file must have.

    Returns:
        Paths by stem without the suffix.

    Raises:
        DataError: Two files have one name, or the folder cannot be read.
    """
    found: dict[str, Path] = {}
    try:
        names = sorted(os.listdir(folder)) if folder.is_dir() else ()
    except OSError as error:
        raise DataError(f'{folder}: cannot be read ({error.strerror})') from error
    for file in names:
        stem, ending = os.path.splitext(file)  # not Path, which takes seconds for all of COCO
        hidden = file.startswith('.')  # such as the ._ files that macOS adds to archives
        if hidden or ending.lower() not in endings or not stem.endswith(suffix):
            continue
        name = stem.removesuffix(suffix)
        if name in found:
            raise DataError(
                f'{folder / file} and {found[name].name} have the same name; keep one of them'
            )
        found[name] = folder / file
    return found


def pair(
    images: dict[str, Path], labels: dict[str, Path], expected: Callable[[str], Path]
) -> FoundSamples:
    """Return a sample for each image, sorted by name, and the labels without an image.

    Args:
        images: Image files by name.
        labels: Label files by name.
        expected: Function that returns the label path for a name. If a label is missing, its sample
            has this path, and opening the data set reports it.
    """
    return FoundSamples(
        tuple(
            Sample(name, image, labels.get(name) or expected(name))
            for name, image in sorted(images.items())
        ),
        without(labels, images, NO_IMAGE),
    )


def select_listed(
    found: FoundSamples, list_file: Path, name_of: Callable[[str], str] = str
) -> FoundSamples:
    """Return the samples that a list file names, in its order; the others are not used.

    A line names a sample with or without the ending of its image. Leading folders that do not
    exist here are ignored, and backslashes separate folders as slashes do.

    Args:
        found: All samples.
        list_file: Text file with a sample per line.
        name_of: Function that extracts the name of the sample from a line.

    Raises:
        DataError: A name is unknown, or the list cannot be read.
    """
    by_name = {sample.name: sample for sample in found}
    chosen = []
    for number, line in enumerate(list_lines(list_file), 1):
        if not line.strip():
            continue
        name = name_of(line.strip())
        sample = next((by_name[n] for n in names_meant(name) if n in by_name), None)
        if sample is None:
            remedy = (
                f'write a name per line, such as {next(iter(by_name))}, or remove this file'
                if by_name
                else 'none was found at all, so the images are not in the folder expected'
            )
            raise DataError(
                f'{list_file}, line {number}: there is no image called {short_repr(name)}; {remedy}'
            )
        chosen.append(sample)
    return FoundSamples(tuple(chosen), found.unused)
