"""Write the frames of a video as images, which pictures of optical flow belong to.

A file ``.video.json`` beside them says which video they are of.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np

from common import files
from common.errors import InputError, UserError
from common.log import LOG
from common.reading import json_text
from common.terminal.printable import one_line
from datasets.image_files import write_image

RECORD = '.video.json'  # hidden, as the folder is one of a data set
MAX_RECORD_BYTES = 1 << 16
_NAME = '{:06d}.png'  # by the number of the frame, from 0


class Video(Protocol):
    """A video that is read frame by frame, such as :class:`engine.inference.video.VideoReader`."""

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield upright frames, (H, W, 3) uint8, BGR; raise ``InputError`` without any."""

    def check_complete(self, count: int) -> None:
        """Raise ``InputError`` if the video has more than ``count`` frames."""


# Function that opens a video; its arguments are the path and the pixels of the largest frame.
VideoOpener: TypeAlias = Callable[[Path, int], Video]


def write_frames(video: Path, folder: Path, max_pixels: int, open_video: VideoOpener) -> int:
    """Write all frames of a video; those that are there already are kept.

    Args:
        video: The file.
        folder: A new or empty folder, or one with frames of this video.
        max_pixels: Pixels of the largest frame that is read.
        open_video: Opens the video.

    Returns:
        The number of frames.

    Raises:
        UserError: The video cannot be read, or the folder contains other files, or frames of
            another video.
    """
    own = _facts(video)
    _check_folder(folder, own)
    count, reader = 0, open_video(video, max_pixels)
    for frame in reader:
        if not count:
            _make(folder)
            files.write_json(folder / RECORD, own)
        target = folder / _NAME.format(count)
        if not target.is_file():
            write_image(target, frame)
        count += 1
    try:
        reader.check_complete(count)
    except InputError as error:
        LOG.warning('%s', error)
    LOG.info('%s: %d frames in %s', video, count, folder)
    return count


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'--images {folder}: cannot be made ({error.strerror})') from error


def _facts(video: Path) -> dict[str, object]:
    """Return what tells a video from others: its name, size and time."""
    status = video.stat()
    time = datetime.fromtimestamp(int(status.st_mtime), timezone.utc)
    return {'video': video.name, 'bytes': status.st_size, 'changed': time.isoformat()}


def _check_folder(folder: Path, own: dict[str, object]) -> None:
    """Raise ``UserError`` if a folder has other files than frames of the video ``own``."""
    kind = files.kind_of(folder)
    there = files.listing(folder) if kind == 'folder' else []
    seen = [path for path in there if not path.name.startswith('.')]
    frames = [path for path in seen if path.stem.isdecimal() and path.suffix == '.png']
    if kind == 'file' or len(frames) < len(seen):
        raise UserError(f'--images {folder}: contains other files; name a new folder')
    if frames and files.kind_of(folder / RECORD) != 'file':
        raise UserError(
            f'--images {folder}: contains images, but no {RECORD} that says of which video they '
            'are; name a new folder'
        )
    if frames and (known := json_text.read(folder / RECORD, dict, MAX_RECORD_BYTES)) != own:
        of_video = ', '.join(f'{key} {known.get(key)}' for key in own)
        raise UserError(
            f'--images {folder}: contains frames of another video ({one_line(of_video)}); name a '
            'new folder'
        )
