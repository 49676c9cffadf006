"""Find how the frames of a video are to be turned: the display matrix of an MP4 or QuickTime file.

Phones store frames as the sensor has them, and a matrix beside them; players apply it. OpenCV
states its angle, but takes a mirrored video for one that is upside down. Boxes and fields are those
of ISO/IEC 14496-12, sections 4.2, 8.2.2, 8.3.2 and 8.4.3.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from datasets.orientation import UPRIGHT

MAX_HEADER_BYTES = 256 << 20  # of the box moov; that of a film has a few MiB
# EXIF's orientation by the signs of the matrix ((a, b), (c, d)), which shows the point (x, y) at
# (a x + c y, b x + d y).
_BY_SIGNS = {
    (1, 0, 0, 1): 1,
    (-1, 0, 0, 1): 2,
    (-1, 0, 0, -1): 3,
    (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5,
    (0, 1, -1, 0): 6,
    (0, -1, -1, 0): 7,
    (0, -1, 1, 0): 8,
}
_BY_ANGLE = {90: 6, 180: 3, 270: 8}  # degrees clockwise
_MATRIX_OFFSETS = {b'mvhd': (36, 48), b'tkhd': (40, 52)}  # for versions 0 and 1 of the box


def of_video(path: Path, angle: float) -> int:
    """Return the EXIF orientation that the frames of a video have.

    Args:
        path: The video.
        angle: The angle that OpenCV states, in degrees clockwise; used for other formats.
    """
    with open(path, 'rb') as file:
        try:
            found = _of_iso_file(file)
        except (struct.error, ValueError, IndexError):  # the boxes are damaged
            found = None
    return _BY_ANGLE.get(round(angle) % 360, UPRIGHT) if found is None else found


def _of_iso_file(file: BinaryIO) -> int | None:
    """Return the orientation of the first video track; None if there is none."""
    header = _read_header(file)
    if header is None:
        return None
    boxes = list(_boxes(header))
    for kind, body in boxes:
        if kind == b'trak' and _is_video(body):
            matrix = (_matrix(b'tkhd', list(_boxes(body))) @ _matrix(b'mvhd', boxes)).ravel()
            strong = abs(matrix) > abs(matrix).max() / 2
            return _BY_SIGNS.get(tuple(np.sign(matrix * strong).astype(int)), UPRIGHT)
    return None


def _read_header(file: BinaryIO) -> bytes | None:
    """Return the content of the box moov, which may follow gigabytes of frames."""
    while len(start := file.read(8)) == 8:
        size, kind = struct.unpack('>I4s', start)
        read = 8
        if size == 1:  # the size has 64 bits
            (size,), read = struct.unpack('>Q', file.read(8)), 16
        if size < read or not kind.isalnum():  # the last box, or another format
            return None
        if kind == b'moov':
            return file.read(size - read) if size <= MAX_HEADER_BYTES else None
        file.seek(size - read, 1)
    return None


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of the boxes in a box."""
    position = 0
    while position + 8 <= len(data):
        size, kind = struct.unpack_from('>I4s', data, position)
        if size < 8:
            return
        yield kind, data[position + 8 : position + size]
        position += size


def _matrix(kind: bytes, boxes: list[tuple[bytes, bytes]]) -> np.ndarray:
    """Return the part of a box's matrix that turns, (2, 2): rows (a, b) and (c, d)."""
    body = next((body for name, body in boxes if name == kind), None)
    if body is None:
        return np.eye(2)
    values = struct.unpack_from('>9i', body, _MATRIX_OFFSETS[kind][body[0]])
    return np.array([values[0:2], values[3:5]]) / (1 << 16)


def _is_video(track: bytes) -> bool:
    media = next((body for kind, body in _boxes(track) if kind == b'mdia'), b'')
    return any(kind == b'hdlr' and body[8:12] == b'vide' for kind, body in _boxes(media))
