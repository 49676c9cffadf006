"""Errors of backends, and the translation of a runtime's exceptions into them."""

from common.errors import UserError
from common.memory import is_memory_error
from engine.backends.base import Shape

NNABLA_REMEDY = 'use --backend nnabla, which supports everything in float32'


class BackendError(UserError):
    """A backend cannot compute a network on this machine; another backend may.

    Attributes:
        what: The message without the remedy. The remedy helps only users who chose this backend.
    """

    def __init__(self, what: str, remedy: str | None = None):
        super().__init__(f'{what}; {remedy}' if remedy else what)
        self.what = what


class DisagreementError(BackendError):
    """The export's logits differ from NNabla's by more than rounding error."""


def as_backend_error(
    error: Exception, what: str, reason: str, remedy: str | None = None
) -> Exception:
    """Translate a runtime's exception into a one-line ``MemoryError`` or ``BackendError``.

    Args:
        error: The runtime's exception.
        what: Description of the failure, for the message.
        reason: The runtime's own explanation.
        remedy: Advice for users who chose this backend.

    Returns:
        The exception to raise.
    """
    reason = ' '.join(reason.split())
    return (
        MemoryError(reason)
        if is_memory_error(error)
        else BackendError(f'{what} ({reason})', remedy)
    )


def inference_error(error: Exception, name: str, shape: Shape, reason: str) -> Exception:
    """Return the exception to raise when a runtime fails on an input.

    Args:
        error: The runtime's exception.
        name: The backend's name.
        shape: (N, 3, H, W) of the input.
        reason: The runtime's own explanation.
    """
    size = f'{shape[2]}x{shape[3]}'
    return as_backend_error(error, f'{name} failed at {size}', reason, NNABLA_REMEDY)
