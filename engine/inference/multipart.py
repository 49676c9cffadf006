"""Split the content of an HTTP answer of the type multipart into its parts: RFC 2046, 5.1.1."""

import re
from collections.abc import Iterator

from common.downloading.http_get import AnswerError

MAX_HEAD_BYTES, MAX_PART_BYTES = 1 << 14, 1 << 26
_HEAD_END = re.compile(rb'\r?\n\r?\n')
_LENGTH = re.compile(rb'^content-length:[ \t]*([0-9]{1,9})[ \t]*\r?$', re.IGNORECASE | re.MULTILINE)


def parts(blocks: Iterator[bytes], content_type: str) -> Iterator[bytes]:
    """Yield the content of each part.

    Args:
        blocks: The content, in blocks of any size.
        content_type: The header, which names the boundary between parts.

    Raises:
        AnswerError: It names none, or a part is too large.
    """
    found = re.search(r'boundary="?([^";]+)', content_type)
    if found is None:
        raise AnswerError(f'answers with the type {content_type!r}, which names no boundary')
    # Some cameras name the boundary with the dashes before it.
    boundary = b'--' + found[1].strip().encode('latin-1', 'replace').removeprefix(b'--')
    rest = _Rest(blocks)
    while rest.skip_to(boundary):
        head = rest.take_until(_HEAD_END, MAX_HEAD_BYTES)
        if head is None:
            return
        length = _LENGTH.search(head)
        if length:
            content = rest.take(int(length[1]))
        else:
            content = rest.take_until(re.compile(rb'\r?\n' + re.escape(boundary)), MAX_PART_BYTES)
            rest.put_back(b'\n' + boundary)
        if content is None:
            return
        if content:
            yield content


class _Rest:
    """What was received and not used yet."""

    def __init__(self, blocks: Iterator[bytes]):
        self._blocks, self._data = blocks, bytearray()

    def _grow(self, most: int) -> bool:
        block = next(self._blocks, b'')
        self._data += block
        if len(self._data) > most + (1 << 20):
            raise AnswerError(f'sends a part of more than {most} bytes')
        return bool(block)

    def skip_to(self, text: bytes) -> bool:
        """Drop everything up to the end of a text; return whether it comes."""
        while (place := self._data.find(text)) < 0:
            del self._data[: -len(text)]
            if not self._grow(MAX_PART_BYTES):
                return False
        del self._data[: place + len(text)]
        return True

    def take_until(self, pattern: re.Pattern[bytes], most: int) -> bytes | None:
        """Return what stands before a pattern, and drop both; None if it does not come."""
        start = 0
        while not (found := pattern.search(self._data, start)):
            start = max(0, len(self._data) - 256)  # longer than any boundary
            if not self._grow(most):
                return None
        return self._cut(found.start(), found.end())

    def take(self, count: int) -> bytes | None:
        """Return so many bytes; None if fewer come."""
        if count > MAX_PART_BYTES:
            raise AnswerError(f'sends a part of {count} bytes')
        while len(self._data) < count:
            if not self._grow(MAX_PART_BYTES):
                return None
        return self._cut(count, count)

    def put_back(self, text: bytes) -> None:
        """Insert a text before the rest."""
        self._data[:0] = text

    def _cut(self, used: int, dropped: int) -> bytes:
        taken = bytes(self._data[:used])
        del self._data[:dropped]
        return taken
