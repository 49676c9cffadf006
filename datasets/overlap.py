"""Find images that two splits share: the same file, a link to it, or a copy of its bytes."""

import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path

from common.files import sha256_of
from common.terminal.name_list import first_names
from datasets.dataset import Dataset

MAX_COMPARED_IMAGES = 5000  # of larger splits, only the paths are compared
HEAD_BYTES = 1 << 14  # of files of equal size, compared before all bytes

Pairs = dict[Path, Path]  # by image of one split, the same image of another


def shared_images(one: Dataset, other: Dataset) -> Pairs:
    """Return the images of ``other`` that ``one`` has as well, each with its twin in ``one``."""
    ones, others = [[sample.image for sample in dataset] for dataset in (one, other)]
    pairs = _matches(ones, others, [_RealPaths()])
    if max(len(ones), len(others)) <= MAX_COMPARED_IMAGES:
        for steps in ([_file_number], [os.path.getsize, _head, sha256_of]):
            pairs |= _matches(ones, [path for path in others if path not in pairs], steps)
    return {path: pairs[path] for path in others if path in pairs}


def describe_shared(pairs: Pairs, root: Path | None) -> str:
    """Return the first pairs for a message: ``val/a.png = train/a.png, ...``."""

    def name(path: Path) -> str:
        return str(path.relative_to(root) if root and path.is_relative_to(root) else path)

    return first_names([name(a) if a == b else f'{name(a)} = {name(b)}' for a, b in pairs.items()])


def _matches(
    ones: Iterable[Path], others: Iterable[Path], steps: Sequence[Callable[[Path], Hashable]]
) -> Pairs:
    """Return the files of ``others`` for which one of ``ones`` has equal values in all steps."""
    if not steps:
        first = next(iter(ones))
        return dict.fromkeys(others, first)
    own, groups = _grouped(ones, steps[0]), _grouped(others, steps[0])
    found: Pairs = {}
    for value in groups.keys() & own.keys():
        found |= _matches(own[value], groups[value], steps[1:])
    return found


def _grouped(
    paths: Iterable[Path], value_of: Callable[[Path], Hashable]
) -> dict[Hashable, list[Path]]:
    groups = defaultdict(list)
    for path in paths:
        try:
            groups[value_of(path)].append(path)
        except OSError:  # it cannot be read, as loading it reports
            continue
    return groups


class _RealPaths:
    """Function that returns a path with the links of its folder resolved."""

    def __init__(self) -> None:
        self._folders: dict[Path, str] = {}

    def __call__(self, path: Path) -> str:
        if path.parent not in self._folders:
            self._folders[path.parent] = os.path.realpath(path.parent)
        return os.path.join(self._folders[path.parent], path.name)


def _file_number(path: Path) -> Hashable:
    """Return what all hard and symbolic links of a file share."""
    status = path.stat()
    return status.st_dev, status.st_ino


def _head(path: Path) -> bytes:
    with path.open('rb') as file:
        return file.read(HEAD_BYTES)
