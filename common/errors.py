"""Errors that the user can fix; a command prints them as one line."""

from common.printable import printable


class UserError(Exception):
    """An error that the user can fix; the message states the fault and the remedy in one line.

    A name or a content of a file may put line breaks and control characters into it.
    """

    def __str__(self) -> str:
        return printable(' '.join(super().__str__().splitlines()))


class InputError(UserError):
    """One input cannot be used; the command continues with the others."""


class ClosedPipeError(UserError):
    """The reader of a pipe has exited before a result was written, as ``| head`` does."""


class BadSampleError(InputError):
    """A training sample cannot be used, and the user has not chosen to replace it by another."""
