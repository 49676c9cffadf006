"""Damage to images that knows their formats."""

import re
import struct
import zlib
from collections.abc import Sequence

import numpy as np

from fuzz.mutators.mutator import Mutator, pick

_SIDES = (0, 1, 7, 1000, 20_000, 20_001, 60_000, 65_535, 2**31 - 1, 2**32 - 1)
_SIGNATURE_BYTES = 8
_KINDS = (b'IHDR', b'PLTE', b'IDAT', b'tRNS', b'eXIf', b'acTL', b'fcTL', b'iCCP', b'gAMA', b'zTXt')
_TAG_BYTES = 12  # of an entry in a directory of a TIFF
_TIFF_TAGS = (256, 257, 258, 259, 262, 273, 277, 278, 279, 320, 322, 324, 338, 339, 317, 284, 274)


def change_png_chunk(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Flip bits in a chunk and give it a new checksum."""
    chunks = _png_chunks(data)
    index = int(rng.integers(len(chunks)))
    kind, content = chunks[index]
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        if changed:
            changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
    chunks[index] = kind, bytes(changed)
    return _png_of(chunks)


def change_png_header(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Give a PNG another size, depth, type of colours or interlacing, with a right checksum."""
    chunks = _png_chunks(data)
    width, height, *rest = struct.unpack('>IIBBBBB', chunks[0][1][:13].ljust(13, b'\0'))
    if rng.random() < 0.6:
        width, height = (int(rng.choice(_SIDES)) for _ in range(2))
    else:
        rest[int(rng.integers(len(rest)))] = int(rng.choice([0, 1, 2, 3, 4, 6, 8, 16, 255]))
    chunks[0] = b'IHDR', struct.pack('>IIBBBBB', width, height, *rest)
    return _png_of(chunks)


def reorder_png_chunks(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Drop, repeat, move or rename a chunk, or bring in one of another file."""
    chunks = _png_chunks(data)
    index, way = int(rng.integers(len(chunks))), int(rng.integers(5))
    if way == 0:
        del chunks[index]
    elif way == 1:
        chunks[index:index] = [chunks[index]] * int(rng.integers(1, 50))
    elif way == 2:
        chunks.insert(int(rng.integers(len(chunks))), chunks.pop(index))
    elif way == 3:
        chunks[index] = _KINDS[int(rng.integers(len(_KINDS)))], chunks[index][1]
    else:
        chunks.insert(index, pick(rng, _png_chunks(pick(rng, others))))
    return _png_of(chunks)


def inflate_png_pixels(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Replace the pixels by a stream that is much longer or shorter than the header says."""
    stream = zlib.compress(bytes(int(rng.choice([0, 1, 100, 1 << 20, 1 << 26]))), 9)
    chunks = [(kind, stream if kind == b'IDAT' else content) for kind, content in _png_chunks(data)]
    return _png_of(chunks)


def change_jpeg_segment(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Change a byte near the start of a segment: tables, sizes, components, scans."""
    places = [match.start() for match in re.finditer(rb'\xff[\xc0-\xfe]', data)]
    result = bytearray(data)
    place = (pick(rng, places) if places else 0) + int(rng.integers(1, 20))
    if place < len(result):
        result[place] = int(rng.integers(256))
    return bytes(result)


def change_jpeg_size(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Give a JPEG another height and width."""
    found = re.search(rb'\xff[\xc0-\xc2]..\x08', data, re.DOTALL)
    if not found:
        return data
    sides = struct.pack('>HH', *(int(rng.choice(_SIDES)) % 65536 for _ in range(2)))
    return data[: found.end()] + sides + data[found.end() + 4 :]


def repeat_jpeg_scans(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Repeat the scans of a JPEG, each of which costs a pass over the declared size."""
    start = data.find(b'\xff\xda')
    scans = data[start:-2] if start > 0 else b''
    return data[:-2] + scans * int(rng.integers(1, 2000)) + data[-2:]


def change_bmp_header(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Give a BMP another size, depth, compression, offset or number of colours."""
    offset = int(rng.choice([10, 14, 18, 22, 26, 28, 30, 34, 46, 50]))
    value = int(rng.choice([*_SIDES, 2**31, 3, 4, 8, 16, 24, 32]))
    return data[:offset] + struct.pack('<I', value % 2**32) + data[offset + 4 :]


def change_tiff_tag(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Give an entry of a TIFF's directory another tag, type, count or value."""
    if len(data) < 8:
        return data
    order = '<' if data[:2] == b'II' else '>'
    start = struct.unpack(f'{order}I', data[4:8])[0] + 2
    count = struct.unpack(f'{order}H', data[start - 2 : start].ljust(2, b'\0'))[0]
    place = start + _TAG_BYTES * int(rng.integers(max(1, count)))
    entry = list(struct.unpack(f'{order}HHII', data[place : place + 12].ljust(12, b'\0')))
    part = int(rng.integers(4))
    choices = (_TIFF_TAGS, (1, 2, 3, 4, 5, 7, 11, 12, 13, 16, 99), *[(*_SIDES, 2, 3, 4, 8, 16)] * 2)
    entry[part] = int(rng.choice(choices[part]))
    return data[:place] + struct.pack(f'{order}HHII', *entry) + data[place + 12 :]


def loop_tiff_directories(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Make the directory of a TIFF its own successor, or the start of the file."""
    if len(data) < 8:
        return data
    order = '<' if data[:2] == b'II' else '>'
    start = struct.unpack(f'{order}I', data[4:8])[0]
    count = struct.unpack(f'{order}H', data[start : start + 2].ljust(2, b'\0'))[0]
    place = start + 2 + _TAG_BYTES * count
    target = int(rng.choice([start, 0, 4, len(data)]))
    return data[:place] + struct.pack(f'{order}I', target) + data[place + 4 :]


def change_pnm_number(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Replace a number of a PNM's header."""
    numbers = list(re.finditer(rb'\d+', data[:40]))[1:]
    if not numbers:
        return data
    found = pick(rng, numbers[:3])
    odd = [b'-1', b'1e9', b'0x10', b'9' * 5000, *(str(side).encode() for side in _SIDES)]
    return data[: found.start()] + pick(rng, odd) + data[found.end() :]


def change_pnm_kind(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Give a PNM another kind, such as PAM or PFM."""
    return pick(rng, [b'P1', b'P2', b'P3', b'P4', b'P5', b'P6', b'P7', b'Pf', b'PF']) + data[2:]


def _png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    position, chunks = _SIGNATURE_BYTES, []
    while position + 8 <= len(data):
        size = int.from_bytes(data[position : position + 4], 'big')
        kind, start = data[position + 4 : position + 8], position + 8
        chunks.append((kind, data[start : start + size]))
        position = start + size + 4
    return chunks or [(b'IHDR', b'')]


def _png_of(chunks: Sequence[tuple[bytes, bytes]]) -> bytes:
    parts = [b'\x89PNG\r\n\x1a\n']
    for kind, content in chunks:
        checksum = zlib.crc32(kind + content)
        parts += [struct.pack('>I', len(content)), kind, content, struct.pack('>I', checksum)]
    return b''.join(parts)


OF_PNG = (
    Mutator(change_png_chunk, keeps_checksums=True),
    Mutator(change_png_header, keeps_checksums=True),
    Mutator(reorder_png_chunks, keeps_checksums=True),
    Mutator(inflate_png_pixels, keeps_checksums=True),
)
OF_JPEG = (Mutator(change_jpeg_segment), Mutator(change_jpeg_size), Mutator(repeat_jpeg_scans))
OF_BMP = (Mutator(change_bmp_header),)
OF_TIFF = (Mutator(change_tiff_tag), Mutator(change_tiff_tag), Mutator(loop_tiff_directories))
OF_PNM = (Mutator(change_pnm_number), Mutator(change_pnm_kind))
