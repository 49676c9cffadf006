"""Write the frames of a video as images, which pictures of optical flow belong to."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np

from common import files
from common.errors import InputError, UserError
from common.log import LOG
from datasets.image_files import write_image

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
        UserError: The video cannot be read, or the folder contains other files.
    """
    _check_folder(folder)
    count, reader = 0, open_video(video, max_pixels)
    for frame in reader:
        target = folder / _NAME.format(count)
        if not target.is_file():
            _make(folder)
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


def _check_folder(folder: Path) -> None:
    """Raise ``UserError`` if a folder has other files than frames."""
    kind = files.kind_of(folder)
    if (
        kind == 'file'
        or kind == 'folder'
        and any(
            not (path.stem.isdecimal() and path.suffix == '.png') and not path.name.startswith('.')
            for path in files.listing(folder)
        )
    ):
        raise UserError(f'--images {folder}: contains other files; name a new folder')
