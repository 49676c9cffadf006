"""Videos in the containers that OpenCV writes."""

import re
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from common.errors import UserError
from datasets.keys import MAX_PIXELS
from engine.inference.video import VideoReader
from fuzz.inputs import Content, Reader, one_file
from fuzz.mutators import videos as video_damage
from fuzz.readers.pictures import close_to, smooth
from fuzz.readers.scratch import written

_HEIGHT, _WIDTH, _FRAMES, _MOST_FRAMES = 32, 48, 3, 100
_BYTES_PER_PIXEL = 60  # pictures that FFmpeg keeps for reference in each thread, and the result
_CLUSTER = b'\x1f\x43\xb6\x75'  # begins the frames of a Matroska file
_CODECS = {'.mp4': 'mp4v', '.avi': 'MJPG', '.mkv': 'mp4v'}


def _videos(rng: np.random.Generator) -> list[Content]:
    frames = [smooth(rng, _HEIGHT, _WIDTH) for _ in range(_FRAMES)]

    def write(path: Path) -> None:
        codec = cv2.VideoWriter_fourcc(*_CODECS[path.suffix])  # type: ignore[attr-defined]
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, 5, (_WIDTH, _HEIGHT))
        for frame in frames:
            writer.write(np.ascontiguousarray(frame[..., ::-1]))
        writer.release()

    right = partial(_has_frames, frames)
    names = [f'clip{ending}' for ending in _CODECS]
    return [one_file(name, _without_chance(written(name, write)), right) for name in names]


def _without_chance(data: bytes) -> bytes:
    """Return a video without what FFmpeg draws at random for Matroska: identities, and their CRCs.

    A CRC becomes an element of the type Void, which has no meaning.
    """
    head, start, rest = data.partition(_CLUSTER)
    if not start:
        return data
    head = re.sub(rb'(\x73\xa4\x90).{16}', rb'\g<1>' + b'1' * 16, head, flags=re.DOTALL)
    head = re.sub(rb'([\x63\x73]\xc5\x88).{8}', rb'\g<1>' + b'1' * 8, head, flags=re.DOTALL)
    head = re.sub(rb'\xbf\x84.{4}', b'\xec\x84' + bytes(4), head, flags=re.DOTALL)
    return head + start + rest


def _has_frames(frames: list[np.ndarray], found: list[np.ndarray]) -> bool:
    return len(found) == len(frames) and all(map(close_to, frames, found))


def _read(path: Path) -> list[np.ndarray]:
    reader = VideoReader(path)
    frames = []
    for frame in reader:
        frames.append(frame)
        if len(frames) == _MOST_FRAMES:
            return frames
    reader.check_complete(len(frames))
    return frames


def _declared_bytes(path: Path) -> int:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    sides = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    width, height = (int(capture.get(side)) for side in sides)
    if not capture.isOpened():
        raise UserError('it declares nothing')
    return _BYTES_PER_PIXEL * min(MAX_PIXELS, max(0, width * height))


READERS = (
    Reader(
        'video', _videos, _read, video_damage.OF_VIDEOS, declared_bytes=_declared_bytes, share=4
    ),
)
