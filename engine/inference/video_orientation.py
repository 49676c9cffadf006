"""Find how the frames of a video are to be turned: the display matrix of an MP4 or QuickTime file.

Phones store frames as the sensor has them, and a matrix beside them; players apply it. OpenCV
states its angle, but takes a mirrored video for one that is upside down. Boxes and fields are those
of ISO/IEC 14496-12, sections 4.2, 8.2.2, 8.3.2 and 8.4.3.
"""

import struct

import numpy as np

from datasets.orientation import UPRIGHT
from engine.inference.iso_boxes import at, video_tracks

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


def of_video(header: memoryview | None, angle: float) -> int:
    """Return the EXIF orientation that the frames of a video have.

    Args:
        header: Content of the box moov; None in other formats.
        angle: The angle that OpenCV states, in degrees clockwise; used for other formats.
    """
    try:
        found = None if header is None else _of_first_track(header)
    except (struct.error, LookupError):  # the boxes are damaged
        found = None
    if found is not None:
        return found
    return _BY_ANGLE.get(round(angle) % 360, UPRIGHT) if np.isfinite(angle) else UPRIGHT


def _of_first_track(header: memoryview) -> int | None:
    """Return the orientation of the first video track; None if there is none."""
    track = next(video_tracks(header), None)
    if track is None:
        return None
    matrix = (_matrix(b'tkhd', track) @ _matrix(b'mvhd', header)).ravel()
    strong = abs(matrix) > abs(matrix).max() / 2
    return _BY_SIGNS.get(tuple(np.sign(matrix * strong).astype(int)), UPRIGHT)


def _matrix(kind: bytes, data: memoryview) -> np.ndarray:
    """Return the part of a box's matrix that turns, (2, 2): rows (a, b) and (c, d)."""
    body = at((kind,), data)
    if body is None:
        return np.eye(2)
    values = struct.unpack_from('>9i', body, _MATRIX_OFFSETS[kind][body[0]])
    return np.array([values[0:2], values[3:5]]) / (1 << 16)
