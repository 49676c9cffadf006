"""The boxes of MP4 and QuickTime files: ISO/IEC 14496-12, section 4.2."""

import os
import struct
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from common.errors import InputError

MAX_HEADER_BYTES = 256 << 20  # of a box that describes samples; that of a film has a few MiB
MAX_BOXES = 1 << 20  # of a file or of a box; a damaged one can be full of empty ones
_HEADERS = (b'moov', b'moof')  # describe the samples of a video, and of a fragment of one

# The kind of a box, such as b'moov', and its content.
Box = tuple[bytes, memoryview]


def headers(file: BinaryIO) -> Iterator[Box]:
    """Yield the boxes of a file that describe samples, which may follow gigabytes of frames.

    Args:
        file: The open file, at its beginning.

    Raises:
        InputError: The file has too many boxes, or too large ones; the message does not name it.
    """
    end = os.fstat(file.fileno()).st_size
    for _ in range(MAX_BOXES):
        start = file.read(8)
        if len(start) < 8:
            return
        size, kind = struct.unpack('>I4s', start)
        read = 8
        if size == 1:  # the size has 64 bits
            size, read = int.from_bytes(file.read(8), 'big'), 16
        content = min(size or end, end) - read  # without a size it is the last box
        if content < 0:
            return
        if kind not in _HEADERS:
            file.seek(content, os.SEEK_CUR)
        elif content > MAX_HEADER_BYTES:
            raise InputError(f'its header has more than {MAX_HEADER_BYTES >> 20} MiB')
        else:
            yield kind, memoryview(file.read(content))
    raise InputError(f'it has more than {MAX_BOXES} boxes')


def boxes_in(data: memoryview) -> Iterator[Box]:
    """Yield the boxes in the content of a box."""
    position = 0
    for _ in range(MAX_BOXES):
        if position + 8 > len(data):
            break
        size, kind = struct.unpack_from('>I4s', data, position)
        read = 8
        if size == 1:
            size, read = int.from_bytes(data[position + 8 : position + 16], 'big'), 16
        size = size or len(data) - position
        if size < read:
            break
        yield kind, data[position + read : position + size]
        position += size


def at(path: Sequence[bytes], data: memoryview) -> memoryview | None:
    """Return the content of the box to which a path of kinds leads from the content of a box."""
    found: memoryview | None = data
    for kind in path:
        if found is not None:
            found = next((content for name, content in boxes_in(found) if name == kind), None)
    return found


def handler(track: memoryview) -> bytes:
    """Return the kind of a track, such as ``b'vide'``; section 8.4.3."""
    found = at((b'mdia', b'hdlr'), track)
    return b'' if found is None else bytes(found[8:12])


def video_tracks(header: memoryview) -> Iterator[memoryview]:
    """Yield the contents of the boxes trak of videos in the box moov."""
    for kind, track in boxes_in(header):
        if kind == b'trak' and handler(track) == b'vide':
            yield track
