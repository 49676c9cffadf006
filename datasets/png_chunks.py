"""Check the chunks that a PNG consists of.

Decoders overlook a wrong checksum of compressed pixels, and yield other pixels.
"""

import zlib
from pathlib import Path

from common.errors import InputError

SIGNATURE = b'\x89PNG\r\n\x1a\n'
_LAST = b'IEND'


def checked_kinds(data: bytes, path: Path) -> set[bytes]:
    """Return the kinds of chunks in a PNG, such as ``b'IHDR'``.

    Args:
        data: The bytes of the file, which begin with ``SIGNATURE``.
        path: The file, for the message.

    Raises:
        InputError: A chunk is truncated, or its checksum is wrong.
    """
    position, view, kinds = len(SIGNATURE), memoryview(data), set[bytes]()
    while _LAST not in kinds:
        end = position + 8 + int.from_bytes(data[position : position + 4], 'big')
        if end + 4 > len(data):
            raise InputError(f'{path}: damaged or truncated image (it ends within a PNG chunk)')
        if zlib.crc32(view[position + 4 : end]) != int.from_bytes(data[end : end + 4], 'big'):
            raise InputError(f'{path}: damaged or truncated image (wrong checksum of a PNG chunk)')
        kinds.add(data[position + 4 : position + 8])
        position = end + 4
    return kinds
