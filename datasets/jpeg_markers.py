"""Read the markers of a JPEG: the kind of its codes, and how many scans its first image has."""

import re

BASELINE, PROGRESSIVE = (0xC0, 0xC1), 0xC2  # markers of the beginning of an image
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # the others are tables
_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_MARKER = re.compile(rb'\xff[\x02-\xcf\xd8-\xfe]')  # not among compressed pixels


def frame_and_scans(data: bytes) -> tuple[int, int]:
    """Return the marker that begins the first image, and the number of its scans.

    Only the scans of a progressive image are counted; others have one for each channel at most.
    """
    place, frame, scans = 0, 0, 0
    while found := _MARKER.search(data, place):
        kind, place = data[found.end() - 1], found.end()
        if kind == _END or (kind == _SCAN and frame != PROGRESSIVE):
            break
        if kind == _START:
            continue
        if kind in _FRAMES:
            frame = frame or kind
        scans += kind == _SCAN
        place += int.from_bytes(data[place : place + 2], 'big')
    return frame, scans
