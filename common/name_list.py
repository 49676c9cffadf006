"""Shorten names, and lists of them, for a message."""

from collections.abc import Sequence

MAX_NAMES = 3
MAX_LENGTH = 200  # characters of a name


def first_names(names: Sequence[object], most: int = MAX_NAMES) -> str:
    """Return the first names, each shortened, separated by commas: ``a, b, c, ...``.

    Args:
        names: All names.
        most: Maximum number of names to return.
    """
    return ', '.join(shortened(str(name)) for name in names[:most]) + (
        ', ...' if len(names) > most else ''
    )


def shortened(name: str, most: int = MAX_LENGTH) -> str:
    """Return a name, cut to a number of characters if it is longer."""
    return name if len(name) <= most else f'{name[:most]}...'
