"""What became of an input: the kinds of outcomes, and how a message to the user is judged."""

import hashlib
import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

READ, REFUSED = 'read', 'refused'
TRACEBACK, HANG, SIGNAL, MEMORY = 'traceback', 'hang', 'signal', 'memory'
CHANGED, RAW_OUTPUT, MESSAGE, WRONG = 'changed', 'raw output', 'message', 'wrong'
FAILURES = (TRACEBACK, HANG, SIGNAL, MEMORY, CHANGED, RAW_OUTPUT, MESSAGE, WRONG)
_CONTROL = ('Cc', 'Cs', 'Zl', 'Zp')  # categories of Unicode
_TURNING = '\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069'
KINDS = (READ, REFUSED, *FAILURES)


@dataclass(frozen=True)
class Outcome:
    """What became of an input.

    Attributes:
        number: Number of the input.
        reader: Name of the reader.
        origin: Index of the valid content that the input was made from.
        mutations: Names of the kinds of damage.
        kind: One of ``KINDS``; ``WRONG`` stands for an undamaged file that was not read right.
        detail: The message to the user, the traceback, or what the child printed.
        place: Where a failure arose, to group equal ones: exception, file and line.
        digests: Digests of the parts of what was read.
        is_covered: Whether checksums cover the content, so that it must be that of the valid files.
        seconds: Time to read it.
        memory_bytes: Growth of the process's memory at the peak.
        input_sha256: Digest of the damaged file.
    """

    number: int
    reader: str
    origin: int
    mutations: tuple[str, ...]
    kind: str
    detail: str = ''
    place: str = ''
    digests: tuple[str, ...] = ()
    is_covered: bool = False
    seconds: float = 0
    memory_bytes: int = 0
    input_sha256: str = ''

    @property
    def is_failure(self) -> bool:
        """Whether the reader has a fault."""
        return self.kind in FAILURES


def message_fault(message: str, folder: Path, names: Sequence[str]) -> str | None:
    """Return what is wrong with a message to the user; None for a good one.

    Args:
        message: The message.
        folder: Folder of the input.
        names: Names of its files, one of which the message must have.
    """
    if not message.strip():
        return 'the message is empty'
    odd = next(filter(is_control, message), None)
    if odd is not None:
        return f'the message has the character {odd!r}'
    printable = [name for name in names if name.isprintable()]
    if len(printable) == len(names) and not any(n in message for n in (*names, str(folder))):
        return 'the message names no file of the input'
    return None


def is_control(character: str) -> bool:
    """Return whether a character can end a line, control a terminal or turn the text around it."""
    return unicodedata.category(character) in _CONTROL or character in _TURNING


def digest(value: Any) -> str:
    """Return a digest of arrays and plain values; equal values have equal digests."""
    state = hashlib.sha256()
    _update(state, value)
    return state.hexdigest()


def _update(state: Any, value: Any) -> None:
    if isinstance(value, np.ndarray | np.generic):
        state.update(f'array {value.dtype} {value.shape}'.encode())
        state.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, Mapping):
        state.update(b'{')
        for key, part in value.items():
            _update(state, key)
            _update(state, part)
        state.update(b'}')
    elif isinstance(value, list | tuple):
        state.update(b'[')
        for part in value:
            _update(state, part)
        state.update(b']')
    elif is_dataclass(value) and not isinstance(value, type):
        _update(state, asdict(value))
    elif isinstance(value, os.PathLike):
        state.update(os.fsencode(value))
    else:
        state.update(f'{type(value).__name__} {value!r};'.encode(errors='surrogateescape'))
