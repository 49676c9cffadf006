"""Errors that the user can fix; a command prints them as one line."""

from common.terminal.printable import one_line


class UserError(Exception):
    """An error that the user can fix; the message states the fault and the remedy in one line.

    A name or a content of a file may put line breaks and control characters into it. Its blanks
    stay: a name in a command of the remedy can have several in a row.
    """

    def __str__(self) -> str:
        first, *others = super().__str__().splitlines() or ['']
        return one_line(' '.join([first, *map(str.strip, others)]))


class InputError(UserError):
    """One input cannot be used; the command continues with the others."""


class ClosedPipeError(UserError):
    """The reader of a pipe has exited before a result was written, as ``| head`` does."""


class BadSampleError(InputError):
    """A training sample cannot be used, and the user has not chosen to replace it by another."""
