"""Find the sizes that the header of a video declares, before FFmpeg allocates frames of that size.

Other formats than those below state the size among the frames only, so that it is known when FFmpeg
has opened the video. FFmpeg itself refuses frames of more than ``FFMPEG_PIXELS``.
"""

import re
import struct
from collections.abc import Iterator

from engine.inference.iso_boxes import at, video_tracks

Size = tuple[int, int]  # width and height in pixels

FFMPEG_PIXELS = 1 << 28  # of a frame; av_image_check_size() of libavutil refuses more

_ENTRY_PATH = (b'mdia', b'minf', b'stbl', b'stsd')  # boxes around the entries of a track's codecs
_ENTRY_SIZE = 40  # offset of width and height in the box stsd: of the first entry
_TRACK_SIZES = (76, 88)  # offsets of width and height in the box tkhd, for its versions 0 and 1
_AVI_FORMAT = re.compile(rb'vids.{52,1024}?strf.{8}(.{8})', re.DOTALL)  # of a video stream
# Elements of Matroska, by their identifiers.
_SEGMENT, _TRACKS, _TRACK, _VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0xE0
_WIDTH, _HEIGHT = 0xB0, 0xBA
_MAX_ELEMENTS = 1 << 12  # of the header
_NUMBER_BYTES = 8  # of the longest number


def of_iso(header: memoryview) -> list[Size]:
    """Return the sizes that the box moov declares; ISO/IEC 14496-12, sections 8.3.2 and 12.1.3."""
    sizes = []
    for track in video_tracks(header):
        head, entry = at((b'tkhd',), track), at(_ENTRY_PATH, track)
        if head:
            offset = _TRACK_SIZES[head[0] == 1]
            shown = struct.unpack_from('>II', head[offset:].tobytes().ljust(8, b'\0'))
            sizes.append((shown[0] >> 16, shown[1] >> 16))
        if entry is not None:
            stored = struct.unpack_from('>HH', entry[_ENTRY_SIZE:].tobytes().ljust(4, b'\0'))
            sizes.append((stored[0], stored[1]))
    return sizes


def of_avi(head: bytes) -> list[Size]:
    """Return the sizes that the stream formats of an AVI file declare: BITMAPINFOHEADER."""
    found = (struct.unpack('<ii', match[1]) for match in _AVI_FORMAT.finditer(head))
    return [(abs(width), abs(height)) for width, height in found]  # negative: from the top


def of_matroska(head: bytes) -> list[Size]:
    """Return the sizes that the tracks of a Matroska file declare; RFC 9559, section 5.1.4."""
    found: dict[int, list[int]] = {_WIDTH: [], _HEIGHT: []}
    for kind, content in _elements(head):
        if kind in found:
            found[kind].append(int.from_bytes(content[:_NUMBER_BYTES], 'big'))
    return list(zip(found[_WIDTH], found[_HEIGHT]))


def _elements(head: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the elements without children, in order: their identifiers and contents."""
    position = 0
    for _ in range(_MAX_ELEMENTS):
        kind, position = _number(head, position, keep_marker=True)
        size, position = _number(head, position, keep_marker=False)
        if position >= len(head):
            break
        if kind not in (_SEGMENT, _TRACKS, _TRACK, _VIDEO):
            yield kind, head[position : position + size]
            position += size


def _number(data: bytes, position: int, *, keep_marker: bool) -> tuple[int, int]:
    """Return a number of variable length and the position after it; RFC 8794, section 4."""
    first = data[position] if position < len(data) else 0
    length = 9 - first.bit_length()
    number = int.from_bytes(data[position : position + length], 'big')
    return number if keep_marker else number & ~(1 << 7 * length), position + length
