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
        self.maxlevel = 4
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = 12
        self.maxstring = self.maxother = MAX_CHARACTERS

    def repr_int(self, x: int, level: int) -> str:
        """Return the digits of an integer; Python refuses to print thousands of them."""
        return repr(x) if x.bit_length() < 500 else f'a number of {x.bit_length()} bits'


def short_repr(value: object) -> str:
    """Return ``repr(value)``, shortened if it is long."""
    return short_text(_Repr().repr(value))


def short_text(value: object) -> str:
    """Return the first characters of a text, such as a name."""
    text = value if isinstance(value, str) else _Repr().repr(value)
    return text if len(text) <= MAX_CHARACTERS else f'{text[: MAX_CHARACTERS - 3]}...'
