"""Show a value of a user's file in a message, however large it is.

A value can be a text of megabytes, a number of thousands of digits, or lists in lists that share
their items, whose ``repr`` is gigabytes long.
"""

import reprlib

MAX_CHARACTERS = 200  # of a value or a name in a message


class _Repr(reprlib.Repr):
    """``repr`` of the first items and characters."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = 12
        self.maxstring = self.maxother = MAX_CHARACTERS

    def repr_int(self, x: int, level: int) -> str:
        """Return the digits of an integer; Python refuses to print thousands of them."""
        return repr(x) if x.bit_length() < 500 else f'a number of {x.bit_length()} bits'


def short_repr(value: object) -> str:
    """Return ``repr(value)``, shortened if it is long."""
    return short_text(_Repr().repr(value))


def short_text(value: object, most: int = MAX_CHARACTERS) -> str:
    """Return the first characters of a text, such as a name.

    Args:
        value: A text, or another value to show as a text.
        most: Maximum number of characters to return.
    """
    text = value if isinstance(value, str) else _Repr().repr(value)
    return text if len(text) <= most else f'{text[: most - 3]}...'
