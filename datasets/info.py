"""What is known of a data set without reading it."""

from dataclasses import dataclass

from command import UserError


class DataError(UserError):
    """A data set cannot be had as asked; the message says what is wrong and what to do."""


@dataclass(frozen=True)
class Info:
    """Class names and their colours (red, green, blue), in the order of the class indices."""

    name: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]


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
