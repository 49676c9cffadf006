"""The formats of videos that are decoded, found by the content of a file.

FFmpeg knows hundreds of formats more. Some are texts that name other files, which it would open:
playlists (HLS), lists of clips (ffconcat), indices of subtitles. FFmpeg knows these by their first
bytes, so they cannot begin as the formats below do, whatever the name of the file ends in.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import InputError
from engine.inference import iso_boxes, iso_index, video_sizes

ISO, AVI, MATROSKA = 'MP4 and QuickTime', 'AVI', 'Matroska and WebM'
MPEG, OGG, FLV, ASF = 'MPEG', 'Ogg', 'Flash Video', 'Windows Media'
NAMES = (ISO, AVI, MATROSKA, MPEG, OGG, FLV, ASF)
HEAD_BYTES = 1 << 16  # show the format and, in most formats, the size
_SIGNATURES = {
    b'\x1a\x45\xdf\xa3': MATROSKA,
    b'OggS': OGG,
    b'FLV\x01': FLV,
    b'\x30\x26\xb2\x75\x8e\x66\xcf\x11': ASF,
}
# The first box of a file, after its size.
_ISO_BOXES = (
    b'ftyp', b'moov', b'mdat', b'free', b'skip', b'wide', b'pnot', b'junk', b'uuid', b'styp',
    b'sidx', b'moof', b'prfl', b'pict', b'udta',
)  # fmt: skip
# Packs, systems headers, sequences and packets of MPEG, after padding with zeros.
_MPEG_STREAM = re.compile(rb'\0{2,}\x01[\xb0\xb3\xb5\xba-\xff]')
_MPEG_PACKETS = (188, 192, 204)  # bytes of a packet of a transport stream
_PACKET_START, _MAX_PACKETS = 0x47, 20  # the first byte of a packet; packets that are looked at
# A text, or a tag that FFmpeg skips to find another format.
_OTHER_START = re.compile(rb'[\t -~]{7}|ID3')


@dataclass(frozen=True)
class VideoHeader:
    """What the beginning of a video, or its box moov, says before FFmpeg opens it.

    Attributes:
        name: The format: one of the constants of this module.
        sizes: Declared widths and heights of its tracks, in pixels.
        moov: Content of the box moov of an MP4 or QuickTime file; None in other formats.
    """

    name: str
    sizes: Sequence[tuple[int, int]]
    moov: memoryview | None = None


def read_header(path: Path) -> VideoHeader:
    """Read what a video says about itself.

    Raises:
        InputError: The file cannot be read, or is of another format.
    """
    if path.exists() and not path.is_file():  # FFmpeg moves about in a file
        raise InputError(f'{path}: not a file; save the video as one')
    try:
        with open(path, 'rb') as file:
            head = file.read(HEAD_BYTES)
            name = format_of(head)
            file.seek(0)
            boxes = iso_boxes.headers(file) if name == ISO else ()
            moov = iso_index.checked_header(boxes)
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror})') from error
    except InputError as error:
        raise InputError(f'{path}: damaged video ({error}); convert it into a new MP4') from error
    if name is None:
        *others, last = NAMES
        raise InputError(
            f'{path}: not a video, or of a format that is not read; convert it into MP4 (read are '
            f'{", ".join(others)} and {last})'
        )
    sizes = video_sizes.of_iso(moov) if moov else []
    if name == AVI:
        sizes = video_sizes.of_avi(head)
    elif name == MATROSKA:
        sizes = video_sizes.of_matroska(head)
    return VideoHeader(name, sizes, moov)


def format_of(head: bytes) -> str | None:
    """Return the format of a file from its first ``HEAD_BYTES`` bytes; None for any other one."""
    for signature, name in _SIGNATURES.items():
        if head.startswith(signature):
            return name
    if head[4:8] in _ISO_BOXES:
        return ISO
    if head.startswith(b'RIFF'):
        return {b'AVI ': AVI, b'AVIX': AVI, b'AVI\x19': AVI, b'CDXA': MPEG}.get(head[8:12])
    return MPEG if _MPEG_STREAM.match(head) or _has_packets(head) else None


def _has_packets(head: bytes) -> bool:
    """Return whether packets of a transport stream, which may begin cut, fill the beginning."""
    last = 1 if _OTHER_START.match(head) else max(_MPEG_PACKETS)
    for size in _MPEG_PACKETS:
        for start in range(min(size, last, len(head))):
            starts = head[start : size * _MAX_PACKETS : size]
            if len(starts) > 1 and starts.count(_PACKET_START) == len(starts):
                return True
    return False
