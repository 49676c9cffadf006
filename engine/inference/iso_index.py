"""Count the samples that the headers of MP4 and QuickTime files claim.

FFmpeg holds 24 bytes for each. A box of 20 bytes can claim any number of samples, where these have
a common size, and each entry of an edit list can repeat all of them.
"""

import re
import struct
from collections.abc import Iterable

from common.errors import InputError
from engine.inference.iso_boxes import Box, at, boxes_in, handler

MAX_SAMPLES = 1 << 25  # a video of 12 days; FFmpeg needs 800 MiB for them
_TABLE = re.compile(b'stsz|trun|elst')
_EDIT_BYTES = 12  # of an entry of an edit list
_FIELDS_OF_SAMPLE = 0xF00  # flags of the box trun: each adds 4 bytes to every sample
_RAW_AUDIO = bytes((0, 0, 0, 1))  # length of each sample


def checked_header(boxes: Iterable[Box]) -> memoryview | None:
    """Count the samples of a file, and return the content of its box moov; None without one.

    Args:
        boxes: The boxes of the file that describe samples.

    Raises:
        InputError: There are more samples than a video can have; the message does not name it.
    """
    header, claimed = None, 0
    for kind, content in boxes:
        if kind == b'moov':
            header = content if header is None else header
            claimed += sum(_samples(part) for _, part in boxes_in(content))
        else:
            claimed += _samples(content)
        if claimed > MAX_SAMPLES:
            raise InputError(f'it claims {claimed} samples')
    return header


def _samples(data: memoryview) -> int:
    """Return how many samples a track or a fragment claims, with those that its edits repeat."""
    if _is_raw_audio(data):
        return 0  # FFmpeg counts chunks
    samples, edits = 0, 0
    for match in _TABLE.finditer(data):
        content = data[match.end() :]
        if len(content) < 12:
            continue
        flags, first, second = struct.unpack_from('>III', content)
        if match[0] == b'elst':
            edits += min(first, len(content) // _EDIT_BYTES)
        elif match[0] == b'stsz':
            samples += second if first else min(second, len(content) // 4)
        else:
            fields = bin(flags & _FIELDS_OF_SAMPLE).count('1')
            samples += min(first, len(content) // (4 * fields)) if fields else first
    return samples * max(1, edits)


def _is_raw_audio(track: memoryview) -> bool:
    """Return whether each sample is one moment of sound; there are 48,000 in a second."""
    times = at((b'mdia', b'minf', b'stbl', b'stts'), track)
    if times is None or handler(track) != b'soun':
        return False
    return times[4:8] == _RAW_AUDIO and times[12:16] == _RAW_AUDIO
