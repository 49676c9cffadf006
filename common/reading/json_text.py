"""Read JSON that others wrote: plain values, or one kind of error that names file and place.

    document = json_text.read(path, dict)
    entry = json_text.parse(line, f'{path}, line {number}', dict)

What JSON forbids and Python's reader accepts, or what makes it fail, is refused: NaN and Infinity,
integers of thousands of digits, nestings without end, repeated keys, halves of surrogate pairs.
Other integers can still be larger than any array: :func:`is_count` and :func:`is_number` tell.
"""

import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn, TypeGuard, TypeVar

from common.reading.text_files import MAX_BYTES, TextFileError, decode, read_bytes

MAX_INTEGER = 2**63 - 1  # what files can count and index
_KINDS: dict[type, str] = {dict: 'object', list: 'list', str: 'text'}
_MANY_DIGITS = re.compile(r'(?<![\w."])-?\d{1000,}')
T = TypeVar('T')


class JsonError(TextFileError):
    """A text is not JSON, or its value is of another type."""


class _ForbiddenValueError(ValueError):
    """A value that Python reads and JSON does not have, or a repeated key."""


def read(path: Path, kind: type[T], max_bytes: int = MAX_BYTES, unique_keys: bool = True) -> T:
    """Return the value in a JSON file.

    Args:
        path: The file.
        kind: The type that the value must have: ``dict`` or ``list``.
        max_bytes: The largest size of the file.
        unique_keys: Whether to refuse an object with the same key twice. This costs time in a file
            with many objects.

    Raises:
        JsonError: The file is not JSON, or its value is not of this type.
        TextFileError: The file is missing, unreadable or too large.
    """
    return parse(read_bytes(path, max_bytes), path, kind, unique_keys)


def parse(
    text: str | bytes,
    source: Path | str,
    kind: type[T],
    unique_keys: bool = True,
    constants: bool = False,
) -> T:
    """Return the value of a JSON text.

    Args:
        text: The text; as bytes, UTF-8 or with a byte order mark.
        source: The file, or the place in it, that the text is from.
        kind: As for :func:`read`.
        unique_keys: As for :func:`read`.
        constants: Whether to accept NaN and Infinity, for a caller that refuses them by the key.

    Raises:
        JsonError: The text is not JSON, or its value is not of this type.
        TextFileError: The bytes are not text.
    """
    if isinstance(text, bytes):
        text = decode(text, source)
    value = _value_of(text, source, unique_keys, constants)
    if not isinstance(value, kind):
        raise JsonError(source, f'not a JSON {_KINDS[kind]}')
    return value


def is_count(value: Any, least: int = 0, most: int = MAX_INTEGER) -> TypeGuard[int]:
    """Return whether a value is an integer, not a truth value, within inclusive bounds."""
    return type(value) is int and least <= value <= most


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number, not a truth value, that fits into a float."""
    if type(value) is int:
        return abs(value) <= MAX_INTEGER
    return type(value) is float and math.isfinite(value)


def _value_of(text: str, source: Path | str, unique_keys: bool, constants: bool) -> Any:
    """Return the value of a text; raise ``JsonError`` for all that can go wrong."""
    pairs = _unique if unique_keys else None
    constant = None if constants else _refuse_constant
    try:
        value = json.loads(text, parse_constant=constant, object_pairs_hook=pairs)
        if '\\u' in text:
            _refuse_half_pairs(value)
    except json.JSONDecodeError as error:
        problem = error.msg if text.strip() else 'it is empty'
        place = _place(text, error.pos) if text.strip() else ''
        raise JsonError(source, f'not valid JSON{place}: {problem}') from error
    except _ForbiddenValueError as error:
        raise JsonError(source, f'not valid JSON: {error}') from error
    except ValueError as error:  # Python's limit of the digits of an integer
        found = _MANY_DIGITS.search(text)
        place = _place(text, found.start()) if found else ''
        raise JsonError(source, f'not valid JSON{place}: a number with too many digits') from error
    except RecursionError as error:
        raise JsonError(source, 'not valid JSON: it is nested too deeply') from error
    except MemoryError as error:
        raise JsonError(source, 'cannot be read: its values do not fit into memory') from error
    return value


def _place(text: str, position: int) -> str:
    """Return the place of a character, to follow a text: `` (line 2, column 7)``."""
    column = position - text.rfind('\n', 0, position)
    if '\n' not in text.rstrip('\n'):
        return f' (column {column})'
    return f' (line {text.count(chr(10), 0, position) + 1}, column {column})'


def _refuse_constant(name: str) -> NoReturn:
    raise _ForbiddenValueError(f'{name} is no number')


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object's dictionary; raise ``ValueError`` for a repeated key."""
    found = dict(pairs)
    if len(found) < len(pairs):
        repeated = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise _ForbiddenValueError(f'an object has the key {repeated[:80]!r} twice')
    return found


def _refuse_half_pairs(value: Any) -> None:
    """Raise ``ValueError`` for texts with a half of a surrogate pair, which no file name can have.

    Bytes of file names that are not UTF-8 are kept: Python writes them as such characters, too.
    """
    rest = [value]
    while rest:
        each = rest.pop()
        if isinstance(each, str):
            try:
                each.encode('utf-8', 'surrogateescape')
            except UnicodeEncodeError as error:
                raise _ForbiddenValueError('a text has half of a surrogate pair') from error
        elif isinstance(each, list):
            rest += each
        elif isinstance(each, dict):
            rest += each.keys()
            rest += each.values()
