"""Recognise out-of-memory errors of Python, OpenCV, NNabla and other runtimes."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from common.errors import UserError

# Words in the messages of NNabla, other runtimes and CUDA.
MEMORY_ERROR_WORDS = 'alloc', 'out of memory', 'outofmemory'


def is_memory_error(error: BaseException) -> bool:
    """Return whether an exception reports a failed allocation.

    OpenCV and the operating system have an error code for this. NNabla and other runtimes only have
    a message, in a ``RuntimeError`` or a class of their own. In other exceptions the same words can
    be part of a file name, so they are not searched.
    """
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    cv2 = sys.modules.get('cv2')  # a module that is not imported has raised nothing
    if cv2 is not None and isinstance(error, cv2.error):
        return bool(error.code == cv2.Error.StsNoMem)
    if isinstance(error, UserError) or _is_of_python(error):
        return False
    text = str(error).lower()
    return any(word in text for word in MEMORY_ERROR_WORDS)


def _is_of_python(error: BaseException) -> bool:
    return type(error).__module__ == 'builtins' and type(error) is not RuntimeError


@contextmanager
def memory_errors_as(kind: type[Exception], message: str | None = None) -> Iterator[None]:
    """Convert an out-of-memory error of the block into another exception.

    Args:
        kind: Exception to raise: ``MemoryError``, ``UserError`` or a subclass.
        message: One line with the remedy; by default the message of the original error.
    """
    try:
        yield
    except Exception as error:
        if not is_memory_error(error) or isinstance(error, kind):
            raise
        raise kind(message or str(error)) from error
