"""Exceptions that mean a lack of memory, whoever raises them."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from common.errors import UserError

WORDS = 'alloc', 'out of memory', 'outofmemory'  # in messages of NNabla, of runtimes and of CUDA


def is_of_memory(error: BaseException) -> bool:
    """Return whether an exception tells of a failed allocation.

    OpenCV and the system have a code for that, NNabla and the runtimes have only words, in a
    ``RuntimeError`` or a class of their own. What else has such words names a file, perhaps.
    """
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    cv2 = sys.modules.get('cv2')  # what has not been imported has raised nothing
    if cv2 is not None and isinstance(error, cv2.error):
        return bool(error.code == cv2.Error.StsNoMem)
    if isinstance(error, UserError) or _is_of_python(error):
        return False
    text = str(error).lower()
    return any(word in text for word in WORDS)


def _is_of_python(error: BaseException) -> bool:
    return type(error).__module__ == 'builtins' and type(error) is not RuntimeError


@contextmanager
def lack_of_memory_as(kind: type[Exception], message: str | None = None) -> Iterator[None]:
    """Raise an exception of the block that means a lack of memory as another one.

    Args:
        kind: What is raised: ``MemoryError``, or ``UserError`` and its like.
        message: One line with the remedy; by default the exception's own.
    """
    try:
        yield
    except Exception as error:
        if not is_of_memory(error) or isinstance(error, kind):
            raise
        raise kind(message or str(error)) from error
