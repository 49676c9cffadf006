"""What is known of a data set without reading it."""

from dataclasses import dataclass

from common.errors import UserError

IGNORE = 255  # the value of pixels that count for nothing, in every label map that a reader returns


class DataError(UserError):
    """A data set cannot be had as asked; the message says what is wrong and what to do."""


@dataclass(frozen=True)
class DatasetInfo:
    """Facts about a data set, in the order of its class indices where there is one a class.

    palette: colours as (red, green, blue). splits: those that the data set has; ``trainval``, train
    and val together, comes on top. layout: the files that are expected below the root, for people.
    source: where to get it. categories: the group of every class, where an official score is taken
    over groups. folders: where below a given folder the root may be, since archives bring folders
    of their own. marks: glob patterns; what matches one of them is found in every copy.
    """

    name: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    splits: tuple[str, ...] = ('train', 'val')
    layout: str = ''
    source: str = ''
    categories: tuple[str, ...] | None = None
    folders: tuple[str, ...] = ('.',)
    marks: tuple[str, ...] = ()


def distinct_colours(count: int) -> tuple[tuple[int, int, int], ...]:
    """Colours for classes that have none of their own: those of PASCAL VOC, without its black.

    The bits of the class number, three at a time, become the high bits of red, green and blue (VOC
    2012 development kit, VOClabelcolormap.m).
    """

    def colour(index):
        return tuple(
            sum((index >> 3 * bit + channel & 1) << 7 - bit for bit in range(8))
            for channel in range(3)
        )

    return tuple(colour(index) for index in range(1, count + 1))
