"""What keeps a backend from being used."""

from common.errors import UserError
from common.memory import is_memory_error
from engine.backends.base import Shape

REMEDY = '--backend nnabla, in float32, takes what the others do not'


class BackendError(UserError):
    """A backend cannot be used for a network here; another may be.

    what: the message without ``remedy``, which is for those who have asked for this backend.
    """

    def __init__(self, what: str, remedy: str | None = None):
        super().__init__(f'{what}; {remedy}' if remedy else what)
        self.what = what


class Disagreement(BackendError):
    """The export computes other numbers than the network does."""


def explained(error: Exception, what: str, reason: str, remedy: str | None = None) -> Exception:
    """A runtime's error as one to raise: ``MemoryError`` or ``BackendError``, of one line."""
    reason = ' '.join(reason.split())
    return (
        MemoryError(reason)
        if is_memory_error(error)
        else BackendError(f'{what} ({reason})', remedy)
    )


def failed(error: Exception, name: str, shape: Shape, reason: str) -> Exception:
    """What is raised when the runtime of that name fails on an input of ``shape``."""
    return explained(error, f'{name} has failed at {shape[2]}x{shape[3]}', reason, REMEDY)
