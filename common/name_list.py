"""Shorten a list of names for a message."""

from collections.abc import Sequence

MAX_NAMES = 3


def first_names(names: Sequence[object], most: int = MAX_NAMES) -> str:
    """Return the first names, separated by commas: ``a, b, c, ...``.

    Args:
        names: All names.
        most: Maximum number of names to return.
    """
    return ', '.join(map(str, names[:most])) + (', ...' if len(names) > most else '')
