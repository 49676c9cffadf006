"""Find images that their EXIF orientation turns, beside labels that it does not turn.

Viewers and this project show such an image turned. A label has no EXIF data: it fits if it was
drawn on the turned image, and not if it was drawn on the pixels as stored. Except for a difference
in size, nothing in the files tells which, so the user is asked.
"""

from collections.abc import Iterable, Sequence

from common import once
from datasets.dataset import Dataset
from datasets.orientation import UPRIGHT

IN_CONFIG = '--set exif_orientation={0}'  # how an option sets the key
MEANINGS = {
    2: 'mirrored',
    3: 'upside down',
    4: 'mirrored and upside down',
    5: 'turned by 90 degrees and mirrored',
    6: 'turned by 90 degrees',
    7: 'turned by 90 degrees and mirrored',
    8: 'turned by 90 degrees',
}


def turned_images(dataset: Dataset, indices: Iterable[int]) -> list[int]:
    """Return those of ``indices`` whose images are turned; none if the user has said what is meant.

    Only headers are read.
    """
    if dataset.reading.exif_orientation is not None:
        return []
    return [index for index in indices if dataset.orientation(index) != UPRIGHT]


def warn(found: Sequence[tuple[Dataset, Sequence[int]]], how_to_set: str = IN_CONFIG) -> None:
    """Warn, once in a command, that images are turned and their labels are not.

    Args:
        found: Data sets, each with the result of :func:`turned_images`.
        how_to_set: The option that sets the key, with ``{0}`` in place of the value.
    """
    count, total = sum(len(turned) for _, turned in found), sum(len(each) for each, _ in found)
    if not count:
        return
    dataset, index = next((dataset, turned[0]) for dataset, turned in found if turned)
    stored = dataset.orientation(index)
    once.warn(
        'exif_orientation',
        f'{count} of {total} images have an EXIF orientation other than 1, the first is '
        f'{dataset[index].image} ({stored}: stored {MEANINGS[stored]}); these images are turned '
        'upright, their labels are not. If the labels were drawn on the stored pixels, pass '
        f'{how_to_set.format("ignore")}; if they fit the upright images, '
        f'{how_to_set.format("apply")} omits this warning',
    )
