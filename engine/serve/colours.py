"""Colours as HTML writes them."""

from collections.abc import Sequence


def hexadecimal(colour: Sequence[int]) -> str:
    """Return a colour, (red, green, blue), as ``#rrggbb``."""
    return '#' + bytes(colour).hex()
