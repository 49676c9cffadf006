"""Find the frame before each frame: in Cityscapes' sequences, and in any folder by numbers."""

import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from datasets.info import DataError
from datasets.readers import layout, trees
from datasets.readers.cityscapes_tasks import IMAGE_ENDING, IMAGES, SEQUENCES, name_before
from datasets.samples import count_of

_DIGITS = re.compile(r'\d+')
_MAX_DIGITS = 15  # of a frame's number


@dataclass(frozen=True)
class FramePair:
    """A frame and the one before it.

    Attributes:
        name: Path of the picture of flow below the output folder, without ending.
        previous: File of the frame before.
        current: File of the frame.
    """

    name: str
    previous: Path
    current: Path


@dataclass(frozen=True)
class FoundFrames:
    """The frames of a source.

    Attributes:
        pairs: The frames that have one before.
        alone: The frames that have none.
    """

    pairs: tuple[FramePair, ...]
    alone: tuple[Path, ...]


def is_cityscapes(root: Path) -> bool:
    """Return whether a folder has the images of Cityscapes."""
    return (root / IMAGES).is_dir()


def of_cityscapes(root: Path) -> FoundFrames:
    """Return the images of all splits, each with the frame before it in its sequence.

    ``leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png`` follows
    ``leftImg8bit_sequence/train/aachen/aachen_000000_000018_leftImg8bit.png``.

    Raises:
        DataError: There are no sequences.
    """
    if not (root / SEQUENCES).is_dir():
        raise DataError(
            f'{root}: no {SEQUENCES}, which has the frames before those of {IMAGES}; unpack '
            f'{SEQUENCES}_trainvaltest.zip there'
        )
    pairs, alone = [], []
    for folder in sorted(path for path in (root / IMAGES).glob('*/*/') if path.is_dir()):
        place = folder.relative_to(root / IMAGES)
        sequence = layout.listing(root / SEQUENCES / place, layout.PNG, IMAGE_ENDING)
        for name, path in sorted(layout.listing(folder, layout.PNG, IMAGE_ENDING).items()):
            previous = sequence.get(name_before(name))
            if previous is None:
                alone.append(path)
            else:
                pairs.append(FramePair(f'{place.as_posix()}/{path.stem}', previous, path))
    return FoundFrames(tuple(pairs), tuple(alone))


def of_folder(folder: Path) -> FoundFrames:
    """Return the frames in a folder and its sub-folders, by the numbers in their names.

    The last number that differs within a folder counts the frames, what precedes and follows it
    names the sequence. The smallest distance of two numbers of a sequence is one frame, so that
    names can count every tenth frame; a larger distance is a gap.

    Raises:
        DataError: There are no frames with numbers.
    """
    found = trees.tree(folder, layout.IMAGES)
    by_place: dict[str, list[str]] = defaultdict(list)
    for name in found.files:
        by_place[name.rpartition('/')[0]].append(name)
    before: dict[str, str] = {}
    for names in by_place.values():
        before |= _names_before(names)
    if not before:
        raise DataError(
            f'{folder}: {count_of(len(found.files), "image")}, but no two that follow each other; '
            'frames need numbers in their names, such as clip_0001.png and clip_0002.png'
        )
    names_in_order = sorted(found.files)
    return FoundFrames(
        tuple(
            FramePair(name, found.files[before[name]], found.files[name])
            for name in names_in_order
            if name in before
        ),
        tuple(found.files[name] for name in names_in_order if name not in before),
    )


def _names_before(names: list[str]) -> dict[str, str]:
    """Return for each frame of a folder the name of the one before it, if there is one."""
    by_text: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name in names:
        by_text[tuple(_DIGITS.split(name.rpartition('/')[2]))].append(name)
    sequences: dict[tuple[object, ...], list[tuple[int, str]]] = defaultdict(list)
    for text, alike in by_text.items():
        numbers = {name: _DIGITS.findall(name.rpartition('/')[2]) for name in alike}
        columns = list(zip(*numbers.values()))
        differing = [place for place, column in enumerate(columns) if len(set(column)) > 1]
        if not differing or max(map(len, columns[differing[-1]])) > _MAX_DIGITS:
            continue
        counted = differing[-1]
        for name, found in numbers.items():
            others = tuple(n for place, n in enumerate(found) if place != counted)
            sequences[(text, others)].append((int(found[counted]), name))
    before: dict[str, str] = {}
    for frames in map(sorted, sequences.values()):
        distances = [second - first for (first, _), (second, _) in pairwise(frames)]
        step = min((distance for distance in distances if distance > 0), default=None)
        before |= {
            name: previous
            for distance, ((_, previous), (_, name)) in zip(distances, pairwise(frames))
            if distance == step
        }
    return before
