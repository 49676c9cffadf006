"""What to do about a training sample that cannot be used."""

from collections.abc import Iterator
from contextlib import contextmanager

from common.errors import BadSampleError, InputError

ADVICE = 'repair the file, or pass --skip-bad to train on another sample in its place'


def advice_on(error: Exception) -> str:
    """Return the advice if the error is a bad sample's; empty for any other error."""
    return ADVICE if isinstance(error, BadSampleError) else ''


@contextmanager
def advised() -> Iterator[None]:
    """Add the advice to an ``InputError`` of the block."""
    try:
        yield
    except InputError as error:
        raise BadSampleError(f'{error}; {ADVICE}') from error
