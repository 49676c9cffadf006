"""Check that a JPEG 2000 has all tiles of its image; decoders leave out those that are missing.

ISO/IEC 15444-1, annex A: the codestream is a main header and the parts of the tiles.
"""

import struct

_BEGINNING = b'\xff\x4f\xff\x51'  # of the codestream, which starts with the sizes
_TILE_PART, _END = 0xFF90, 0xFFD9  # markers


def has_all_tiles(data: bytes) -> bool:
    """Return whether the file contains every tile to its end."""
    place = data.find(_BEGINNING) + 2
    try:
        width, height, _, _, *tile = struct.unpack_from('>8I', data, place + 6)
        across, down = -(-(width - tile[2]) // tile[0]), -(-(height - tile[3]) // tile[1])
        found: set[int] = set()
        while len(found) < across * down:
            marker, length = struct.unpack_from('>HH', data, place)
            if marker == _END:
                return False
            if marker == _TILE_PART:
                number, length = struct.unpack_from('>HI', data, place + 4)
                if place + length > len(data):
                    return False
                found.add(number)
                length = length or len(data)  # 0: to the end of the file
            else:
                length += 2
            place += length
    except (struct.error, ZeroDivisionError):
        return False
    return True
