"""Turn every failure of a decoder into an error of its file.

Decoders of damaged files raise whatever their code runs into: ``RuntimeError``, ``IndexError``,
``struct.error``, a warning that Python was told to raise. All mean the same to a user.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import UnidentifiedImageError

from common.errors import InputError, UserError
from common.memory import is_memory_error
from common.terminal.library_output import hidden_c_output

# The fault and its explanation, between places in OpenCV's sources.
_OPENCV = re.compile(r'OpenCV\(.*error: \(-?\d+:([^)]*)\)\s*(.*?)\s*in function', re.DOTALL)
NOT_ENOUGH_MEMORY = (
    'not enough memory to read it; make it smaller with another program, or leave more memory to '
    'this one'
)


@contextmanager
def decoding(path: Path, remedy: str = '') -> Iterator[None]:
    """Convert the exceptions of a decoder in the block, and hide the lines that it prints.

    Args:
        path: The file that is decoded, for the message.
        remedy: The end of the message about a damaged file.

    Raises:
        InputError: The block raised an exception other than ``UserError``.
    """
    try:
        with hidden_c_output:
            yield
    except UserError:
        raise
    except Exception as error:
        if is_memory_error(error):
            raise InputError(f'{path}: {NOT_ENOUGH_MEMORY}') from error
        raise InputError(f'{path}: damaged or truncated ({reason_of(error)}){remedy}') from error


def reason_of(error: Exception) -> str:
    """Return why a decoder failed, as one line."""
    if isinstance(error, UnidentifiedImageError):  # Pillow names an address in memory
        return 'its header is invalid'
    text = str(getattr(error, 'strerror', None) or error)
    of_opencv = _OPENCV.search(text)
    if of_opencv:
        text = ': '.join(filter(None, of_opencv.groups()))
    return ' '.join(text.split()) or type(error).__name__
