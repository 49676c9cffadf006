"""Read integer tags of a TIFF, which is also the format of EXIF data.

Pillow and OpenCV each know only some kinds of TIFF; the tags have one layout in all of them.
"""

import struct
from collections.abc import Collection

SIGNATURES = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')  # the last two: BigTIFF, with wider offsets
MAX_VALUES = 64  # of a tag; longer ones describe no channels
_MAX_TAGS = 0xFFFF  # of an image; BigTIFF has no limit of its own
_BIG = 43  # version number of BigTIFF
_NUMBERS = {1: 'B', 3: 'H', 4: 'I', 6: 'b', 8: 'h', 9: 'i', 16: 'Q'}  # struct's codes by TIFF type


def read_tags(data: bytes, wanted: Collection[int]) -> dict[int, tuple[int, ...]]:
    """Return the values of the tags ``wanted`` of the first image, as far as they are readable.

    Of several tags with one number the first counts, as in libtiff.

    Args:
        data: The bytes of the file, or of the EXIF data after its signature ``Exif``.
        wanted: Numbers of tags.
    """
    found: dict[int, tuple[int, ...]] = {}
    if not data.startswith(SIGNATURES):
        return found
    order = '<' if data.startswith(b'II') else '>'
    try:
        (version,) = struct.unpack_from(f'{order}H', data, 2)
        start, count, offset = ('8xQ', 'Q', 'Q') if version == _BIG else ('4xI', 'H', 'I')
        (place,) = struct.unpack_from(order + start, data)
        (entries,) = struct.unpack_from(order + count, data, place)
        place += struct.calcsize(order + count)
        entry = f'{order}HH{offset}'
        for _ in range(min(entries, _MAX_TAGS)):
            tag, kind, number = struct.unpack_from(entry, data, place)
            place += struct.calcsize(entry)
            if tag in wanted and kind in _NUMBERS and number <= MAX_VALUES:
                values = f'{order}{number}{_NUMBERS[kind]}'
                inline = struct.calcsize(values) <= struct.calcsize(offset)
                at = place if inline else struct.unpack_from(order + offset, data, place)[0]
                found.setdefault(tag, struct.unpack_from(values, data, at))
            place += struct.calcsize(offset)
    except (struct.error, OverflowError):
        pass  # the tags are damaged or end early; those before are valid
    return found
