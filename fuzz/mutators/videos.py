"""Damage to videos that knows their containers."""

import re
import struct
from collections.abc import Sequence

import numpy as np

from fuzz.mutators.mutator import Mutator, pick

_BOXES = re.compile(
    rb'moov|mvhd|trak|tkhd|mdia|mdhd|hdlr|minf|stbl|stsd|mp4v|stts|stsc|stsz|stco|co64|mdat|edts'
    rb'|elst|esds|udta|avih|strh|strf|idx1|movi|LIST|\x1a\x45\xdf\xa3|\x16\x54\xae\x6b|\xae|\xe0'
)
_COUNTS = (0, 1, 2**15, 2**16 - 1, 60_000, 2**31 - 1, 2**31, 2**32 - 1)


def change_box(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Change a number shortly before or after the name of a box: its size, counts or sides."""
    places = [match.end() for match in _BOXES.finditer(data)]
    if not places:
        return data
    place = max(0, pick(rng, places) + 4 * int(rng.integers(-2, 22)))
    order, count = pick(rng, ['<', '>']), pick(rng, _COUNTS)
    return data[:place] + struct.pack(f'{order}I', count) + data[place + 4 :]


def change_sides(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Replace the width or the height wherever it stands as a number."""
    side = pick(rng, [32, 48])
    new = pick(rng, [0, 1, 1000, 20_000, 32_767, 65_535])
    kind = pick(rng, ['<H', '>H', '<I', '>I'])
    return data.replace(struct.pack(kind, side), struct.pack(kind, new))


OF_VIDEOS = (Mutator(change_box), Mutator(change_box), Mutator(change_sides))
