"""Shorten a list of names for a message."""

from collections.abc import Sequence

from common.terminal.printable import one_line
from common.terminal.short_repr import short_text

MAX_NAMES = 3


def first_names(names: Sequence[object], most: int = MAX_NAMES) -> str:
    """Return the first names, each shortened, separated by commas: ``a, b, c, ...``.

    Their line breaks and control characters are escapes.

    Args:
        names: All names.
        most: Maximum number of names to return.
    """
    shown = ', '.join(short_text(one_line(name)) for name in names[:most])
    return f'{shown}, ...' if len(names) > most else shown
