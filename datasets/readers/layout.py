"""Where the files of a data set are: its root among the folders that users give, and which image
belongs to which label.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from common import PROJECT
from common.log import LOG
from datasets.dataset import Sample
from datasets.info import DataError, DatasetInfo

IMAGES = ('.png', '.jpg', '.jpeg')
PNG = ('.png',)
ABOVE, BELOW = 3, 2  # levels at which the right root is looked for when a wrong one was given


def data_root(name: str, given: str | os.PathLike | None = None) -> Path:
    """The folder of the data set ``name``: as given, with ``~`` replaced, else ``data/<name>`` in
    the working directory, or in the project where only that is there.
    """
    if given:
        return Path(given).expanduser()
    root = Path('data', name)
    return PROJECT / root if not root.is_dir() and (PROJECT / root).is_dir() else root


def locate(root: Path, info: DatasetInfo, others: Iterable[DatasetInfo] = ()) -> Path:
    """The folder of the data set itself: ``root``, or one below it of ``info.folders``.

    Raises ``DataError`` when there is none, with the folder that was probably meant, or the one of
    ``others``, the rest of the data sets, that is there instead.
    """
    if not root.is_dir():
        raise DataError(f'{root}: no such folder; expected there: {info.layout}. {info.source}')
    if not os.access(root, os.R_OK | os.X_OK):
        raise DataError(f'{root}: cannot be read (Permission denied)')
    if not info.marks:
        return root
    found = _located(root, info)
    if found is None:
        raise DataError(f'{root}: no {info.name} there; {_advice(root, info, others)}')
    return found


def _located(root: Path, info: DatasetInfo) -> Path | None:
    folders = (root / folder for folder in info.folders)
    return next((folder for folder in folders if _is_marked(folder, info)), None)


def _is_marked(folder: Path, info: DatasetInfo) -> bool:
    there = os.access(folder, os.R_OK | os.X_OK)  # pathlib raises for a closed folder
    return there and any(next(folder.glob(mark), None) is not None for mark in info.marks)


def _advice(root: Path, info: DatasetInfo, others: Iterable[DatasetInfo]) -> str:
    absolute = root.resolve()
    near = [*_folders_below(absolute), *list(absolute.parents)[:ABOVE]]
    meant = next((folder for folder in near if _located(folder, info)), None)
    if meant is not None:
        return f'it is in {meant}, give that folder'
    other = next((other.name for other in others if _located(root, other)), None)
    there = f'it looks like {other}, is that the data set? Expected' if other else 'expected'
    return f'{there}: {info.layout}. {info.source}'


def _folders_below(root: Path) -> Iterator[Path]:
    for folder, names, _ in os.walk(root):
        yield Path(folder)
        if len(Path(folder).relative_to(root).parts) == BELOW:
            names.clear()  # os.walk goes no deeper then
        names.sort()


def listing(folder: Path, endings: tuple[str, ...], suffix: str = '') -> dict[str, Path]:
    """The files of a folder with one of ``endings`` and names that end in ``suffix``, by what is
    left of their names; empty where there is no such folder. Raises ``DataError`` for two files of
    one name, and for a folder that cannot be read.
    """
    found: dict[str, Path] = {}
    try:
        names = sorted(os.listdir(folder)) if folder.is_dir() else ()
    except OSError as error:
        raise DataError(f'{folder}: cannot be read ({error.strerror})') from error
    for file in names:
        stem, ending = os.path.splitext(file)  # not Path, which takes seconds for all of COCO
        hidden = file.startswith('.')  # such as the ._ files that macOS puts into archives
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
) -> list[Sample]:
    """A sample an image, in the order of their names.

    expected: the label's path for a name; where a label is missing, the sample names the file that
    should be there, and opening the data set tells. Labels without an image are logged.
    """
    alone = sorted(labels.keys() - images.keys())
    if alone and images:
        LOG.warning(
            f'{labels[alone[0]]}: a label without an image, as {len(alone)} of {len(labels)} are'
        )
    return [
        Sample(name, image, labels.get(name) or expected(name))
        for name, image in sorted(images.items())
    ]


def only(
    samples: list[Sample], list_file: Path, name_of: Callable[[str], str] = str
) -> list[Sample]:
    """Those samples that a list file names, one a line, in its order; ``name_of`` takes the name
    out of a line. Raises ``DataError`` for a name that is not there.
    """
    by_name = {sample.name: sample for sample in samples}
    chosen = []
    for number, line in enumerate(
        list_file.read_text(encoding='utf-8', errors='replace').splitlines(), 1
    ):
        if not line.strip():
            continue
        name = name_of(line.strip())
        if name not in by_name:
            raise DataError(
                f'{list_file}, line {number}: there is no image called {name!r}; write a name a '
                f'line, such as {next(iter(by_name), "that of an image")}, or remove this file'
            )
        chosen.append(by_name[name])
    return chosen
