"""Find the root of a data set from the user's folder."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from common import PROJECT
from datasets.info import DataError, DatasetInfo

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
        return Path(given).expanduser()
    root = Path('data', name)
    return PROJECT / root if not root.is_dir() and (PROJECT / root).is_dir() else root


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
        raise DataError(f'{root}: does not contain {info.name}; {_advice(root, info, others)}')
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
    if meant is not None:
        return f'it is in {meant}; name that folder'
    other = next((other.name for other in others if _located(root, other)), None)
    there = f'it looks like {other}; is that the data set? Expected' if other else 'expected'
    return f'{there}: {info.layout}. {info.source}'


def _folders_below(root: Path) -> Iterator[Path]:
    for folder, names, _ in os.walk(root):
        yield Path(folder)
        if len(Path(folder).relative_to(root).parts) == LEVELS_BELOW:
            names.clear()  # os.walk goes no deeper then
        names.sort()
