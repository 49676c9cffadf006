"""Count the samples that the headers of MP4 and QuickTime files claim.

FFmpeg holds 24 bytes for each. A box of 20 bytes can claim any number of samples, where these have
a common size, and each entry of an edit list can repeat all of them.
"""

import re
import struct
from collections.abc import Iterable
from itertools import chain, pairwise

from common.errors import InputError
from engine.inference.iso_boxes import Box, at, boxes_in, handler

MAX_SAMPLES = 1 << 25  # a video of 12 days; FFmpeg needs 800 MiB for them
_TABLE = re.compile(b'stsz|trun|elst')
_EDIT_BYTES = 12  # of an entry of an edit list
_FIELDS_OF_SAMPLE = 0xF00  # flags of the box trun: each adds 4 bytes to every sample
_RAW_AUDIO = bytes((0, 0, 0, 1))  # length of each sample
_RAW_PACKET = 1024  # samples of a chunk of raw audio that FFmpeg counts as one
_TABLES = (b'mdia', b'minf', b'stbl')  # boxes around the tables of samples


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
    is_raw = _is_raw_audio(data)
    samples, edits = _raw_packets(data) if is_raw else 0, 0
    for match in _TABLE.finditer(data):
        content = data[match.end() :]
        if len(content) < 12:
            continue
        flags, first, second = struct.unpack_from('>III', content)
        if match[0] == b'elst':
            edits += min(first, len(content) // _EDIT_BYTES)
        elif match[0] == b'stsz':
            if not is_raw:
                samples += second if first else min(second, len(content) // 4)
        else:
            fields = bin(flags & _FIELDS_OF_SAMPLE).count('1')
            samples += min(first, len(content) // (4 * fields)) if fields else first
    return samples * max(1, edits)


def _is_raw_audio(track: memoryview) -> bool:
    """Return whether each sample is one moment of sound; there are 48,000 in a second."""
    times = at((*_TABLES, b'stts'), track)
    if times is None or handler(track) != b'soun':
        return False
    return times[4:8] == _RAW_AUDIO and times[12:16] == _RAW_AUDIO


def _raw_packets(track: memoryview) -> int:
    """Return how many packets FFmpeg makes of raw audio; sections 8.7.4 and 8.7.5."""
    places = at((*_TABLES, b'stco'), track) or at((*_TABLES, b'co64'), track)
    runs = at((*_TABLES, b'stsc'), track)
    if places is None or runs is None:
        return 0
    chunks = min(int.from_bytes(places[4:8], 'big'), len(places) // 4)
    entries = struct.iter_unpack('>III', runs[8 : 8 + max(0, len(runs) - 8) // 12 * 12])
    packets = 0
    for (first, samples, _), following in pairwise(chain(entries, [(chunks + 1, 0, 0)])):
        count = max(0, min(following[0], chunks + 1) - first)
        packets += min(count, chunks) * (samples // _RAW_PACKET + 1)
    return packets
