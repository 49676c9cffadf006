"""Errors that the user can fix; a command prints them as one line."""


class UserError(Exception):
    """An error that the user can fix; the message states the fault and the remedy in one line."""

    def __str__(self) -> str:
        return ' '.join(super().__str__().splitlines())  # a file name may contain line breaks


class InputError(UserError):
    """One input cannot be used; the command continues with the others."""


class ClosedPipeError(UserError):
    """The reader of a pipe has exited before a result was written, as ``| head`` does."""


class BadSampleError(InputError):
    """A training sample cannot be used, and the user has not chosen to replace it by another."""
