"""Find the folder of images and that of masks among a user's files, by equal names.

A mask has the name of its image, often with a suffix: ``images/a.jpg`` and ``masks/a.png``,
``a.jpg`` and ``a_mask.png`` in one folder, with the same sub-folders on both sides. Where the files
of two folders have equal names, the word in a folder's name decides which has the masks, else the
number of colours in them.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from shlex import quote
from typing import NamedTuple

import numpy as np

from common import files
from common.terminal.name_list import first_names
from datasets.image_files import read_image
from datasets.info import DataError
from datasets.readers import folder, layout

MAX_FILES_OF_FOLDER = 10_000  # whose names are compared
MAX_FOLDERS = 8  # of files with one name, that are compared
OTHER_SPLITS = {'valid': 'val', 'validation': 'val', 'training': 'train', 'testing': 'test'}
_MASK_WORDS = re.compile(r'mask|label|annot|gt|truth|seg|target', re.IGNORECASE)
_IMAGE_WORDS = re.compile(r'image|img|photo|picture|jpe?g|rgb', re.IGNORECASE)
_SUFFIX = re.compile(r'[^A-Za-z0-9]*[A-Za-z]\w*')


class Folders(NamedTuple):
    """Where a user's data has its files, as ``dataset.yaml`` says it.

    Attributes:
        images: Folder of the images below the root.
        labels: Folder of the masks below the root.
        suffix: What follows the image's name in the name of its mask.
    """

    images: str
    labels: str
    suffix: str

    @property
    def names_masks(self) -> bool:
        """Whether the names say that these are images and masks, not the other way round."""
        own = f'{self.labels}/{self.suffix}' if self.suffix else self.labels
        return bool(_MASK_WORDS.search(own)) and not _MASK_WORDS.search(self.images)


@dataclass(frozen=True)
class _Pair:
    """An image and what may be its mask, by their paths below the root."""

    image: Path
    mask: Path
    suffix: str

    def folders(self) -> Folders:
        """Return the folders without the sub-folders that both have at their end."""
        images, labels = list(self.image.parent.parts), list(self.mask.parent.parts)
        while images and labels and images[-1] == labels[-1] and images != labels:
            images.pop(), labels.pop()
        return Folders(Path(*images).as_posix(), Path(*labels).as_posix(), self.suffix)


def find_folders(
    root: Path, images: str | None = None, labels: str | None = None, suffix: str | None = None
) -> Folders:
    """Return the folders of images and masks.

    Args:
        root: The folder of the data.
        images: The folder of the images, if the user has named it.
        labels: The folder of the masks, if the user has named it.
        suffix: What follows the name of an image in that of its mask, if the user has named it.

    Raises:
        DataError: There are no pairs, or several folders fit.
    """
    votes: Counter[Folders] = Counter()
    examples: dict[Folders, _Pair] = {}
    for pair in _pairs(root):
        found = pair.folders()
        fits = suffix is None or pair.suffix == suffix
        if fits and _inside(pair.image, images) and _inside(pair.mask, labels):
            found = Folders(images or found.images, labels or found.labels, found.suffix)
            votes[found] += 1
            examples.setdefault(found, pair)
    votes = _in_one_folder(votes, examples)
    if not votes:
        named = _named(images, labels, suffix)
        raise DataError(
            f'{root}: no images with masks of the same names were found'
            f'{f" with {named}" if named else ""}; put them into {root / "images"} and '
            f'{root / "labels"}, with a name for both, such as a.jpg and a.png; '
            'python -m datasets.prepare polygons --help says how polygons become masks'
        )
    most = max(votes.values())
    best = [found for found, count in votes.items() if 2 * count >= most]
    best = [found for found in best if found.names_masks] or best
    best = [found for found in best if _IMAGE_WORDS.search(found.images)] or best
    if len(best) == 2 and _reversed(best[0]) == best[1]:
        best = [min(best, key=lambda found: _colours(root / examples[found].mask))]
    if len(best) > 1:
        _refuse(root, best)
    return best[0]


def _pairs(root: Path) -> Iterator[_Pair]:
    """Yield each pair of an image and a file that may be its mask."""
    by_stem: defaultdict[str, list[Path]] = defaultdict(list)
    for path in _image_files(root):
        by_stem[path.stem].append(path)
    for stem, masks in by_stem.items():
        for suffix, images in _partners(stem, by_stem):
            for mask in masks[:MAX_FOLDERS]:
                fitting = [i for i in images[:MAX_FOLDERS] if _may_be_pair(i, mask, suffix)]
                nearest = max((_common_parts(i, mask) for i in fitting), default=0)
                for image in fitting:
                    if _common_parts(image, mask) == nearest:
                        yield _Pair(image, mask, suffix)


def _may_be_pair(image: Path, mask: Path, suffix: str) -> bool:
    """Return whether the endings allow a pair.

    JPEG masks are found as well, by folder, so that they can be refused by name.
    """
    is_png = mask.suffix.lower() in layout.PNG
    if suffix:
        return is_png
    return image.parent != mask.parent or (is_png and image.suffix.lower() not in layout.PNG)


def _common_parts(image: Path, mask: Path) -> int:
    """Return how many folders two paths have in common at their beginnings and ends."""
    one, other = image.parent.parts, mask.parent.parts
    ends = zip((*one, *one[::-1]), (*other, *other[::-1]))
    return sum(a == b for a, b in ends) if len(one) == len(other) else 0


def _partners(stem: str, by_stem: dict[str, list[Path]]) -> Iterator[tuple[str, list[Path]]]:
    """Yield the files of the same stem, and those of the longest stem that begins it."""
    yield '', by_stem[stem]
    for end in range(len(stem) - 1, 0, -1):
        suffix = stem[end:]
        if stem[:end] in by_stem and _SUFFIX.fullmatch(suffix):
            yield suffix, by_stem[stem[:end]]
            return


def _image_files(root: Path) -> Iterator[Path]:
    for place, folders, names in files.walk(root):
        folders[:] = [name for name in folders if not name.startswith('.')]
        own = (name for name in sorted(names) if not name.startswith('.'))
        images = (name for name in own if name.lower().endswith(layout.IMAGES))
        for name in islice(images, MAX_FILES_OF_FOLDER):
            yield Path(place, name).relative_to(root)


def _inside(path: Path, named: str | None) -> bool:
    return named is None or path.is_relative_to(Path(named))


def _in_one_folder(votes: Counter[Folders], examples: dict[Folders, _Pair]) -> Counter[Folders]:
    """Return the votes, with those for masks beside their images as one for a common folder."""
    merged: Counter[Folders] = Counter()
    beside: dict[str, list[Folders]] = defaultdict(list)
    for found, count in votes.items():
        if found.images != found.labels:
            merged[found] += count
        else:
            beside[found.suffix].append(found)
    for suffix, places in beside.items():
        place = os.path.commonpath([found.images for found in places]) or '.'
        whole = Folders(place, place, suffix)
        merged[whole] += sum(votes[found] for found in places)
        examples.setdefault(whole, examples[places[0]])
    return merged


def _reversed(found: Folders) -> Folders:
    return Folders(found.labels, found.images, found.suffix)


def _colours(path: Path) -> int:
    """Return the number of colours of an image."""
    image = read_image(path).astype(np.int32)
    return len(np.unique(image @ np.array([1 << 16, 1 << 8, 1])))


def _refuse(root: Path, best: list[Folders]) -> None:
    """Raise ``DataError`` for several folders that fit."""
    parts = [(Path(found.images), Path(found.labels)) for found in best]
    splits = {
        images.parts[0] for images, labels in parts if images.parts[:1] == labels.parts[:1] != ()
    }
    if splits & set(folder.SPLITS) and len(splits) == len(parts):
        moves = '; '.join(
            f'mv {quote(str(images))} images/{split}; mv {quote(str(labels))} labels/{split}'
            for images, labels in sorted(parts)
            for split in [OTHER_SPLITS.get(images.parts[0], images.parts[0])]
        )
        raise DataError(
            f'{root}: each split has a folder of images, but splits are folders below that of the '
            f'images; move them: cd {quote(str(root))}; mkdir -p images labels; {moves}'
        )
    shown = first_names([_named(*found) for found in best])
    raise DataError(f'{root}: several folders fit; name those to use: {shown}')


def _named(images: str | None, labels: str | None, suffix: str | None) -> str:
    """Return the options that name folders and suffix."""
    options = {'--images': images, '--labels': labels, '--label-suffix': suffix}
    return ' '.join(f'{key} {quote(value)}' for key, value in options.items() if value)
