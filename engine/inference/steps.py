"""The steps that every input takes: read, segment, write the picture and its maps."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import InputError
from common.inputs import Input
from common.memory import memory_errors_as
from datasets import formats, image_files
from datasets.keys import DEFAULT_READING, ImageReading
from engine.inference.depth_map import DepthMap, Result
from engine.inference.first_pictures import FirstPictures
from engine.inference.maps import save_maps
from engine.inference.planning import picture_path
from engine.inference.settings import LooksSettings

# An image, (H, W, 3) uint8, BGR, or the first picture of a scene with its camera image
Shown = np.ndarray | tuple[np.ndarray, np.ndarray]
SegmentImage = Callable[[Any], Any]  # Shown -> Result
MAX_BYTES_PER_PIXEL = 8  # of an image file: four channels of 16 bits
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Steps:
    """How images are read, segmented and written.

    Attributes:
        segment_image: Segments an image.
        looks: Settings of the results.
        reading: Settings of the conversion of image files, and the limit of pixels.
        most_frames: Number of frames after which a video or stream ends; None for all.
        first_pictures: The first pictures of scenes, for a network with two inputs.
    """

    segment_image: SegmentImage
    looks: LooksSettings
    reading: ImageReading = DEFAULT_READING
    most_frames: int | None = None
    first_pictures: FirstPictures | None = None

    def read(self, item: Input) -> Shown:
        """Return what the network takes of an image; raises ``InputError``."""
        image = self._image(item)
        return image if self.first_pictures is None else (self.first_pictures.of(item), image)

    def frames(self, frames: Iterator[np.ndarray]) -> Iterator[Shown]:
        """Yield what the network takes of each frame."""
        return frames if self.first_pictures is None else self.first_pictures.with_frames(frames)

    def _image(self, item: Input) -> np.ndarray:
        if item.is_file:
            return image_files.read_image(item.path, self.reading)
        return image_files.decode_image(
            _standard_input(self.reading.max_pixels), item.name, self.reading
        )

    def segment(self, image: Shown, item: Input) -> Result:
        """Return the result of an image, without scores that nothing is written of.

        Raises:
            InputError: The memory does not suffice.
        """
        with self.enough_memory(item):
            try:
                result = self.segment_image(image)
            except InputError as error:  # its message does not name the file
                raise InputError(f'{item.name}: {error}') from error
        if not self.looks.need_scores:
            for each in result.tasks.values():
                each.drop_scores()  # several results wait to be written
        return result

    def write(self, result: Result, item: Input, target: Path) -> None:
        """Write the pictures of an image and its maps, of all tasks; raises ``UserError``."""
        with self.enough_memory(item):
            for task, each in results_by_task(result).items():
                path = picture_path(target, task)
                image_files.write_image(path, self.picture(each))
                save_maps(each, path, self.looks)

    def picture(self, result: Result) -> np.ndarray:
        """Return the picture of one task, (H, W, 3) uint8, BGR."""
        if isinstance(result, DepthMap):  # whose colours alone can be read
            return result.picture()
        return result.overlay(self.looks.opacity, self.looks.legend)

    def frame(self, result: Result) -> np.ndarray:
        """Return the picture of a frame of a video: those of all tasks side by side."""
        pictures = [self.picture(each) for each in results_by_task(result).values()]
        return pictures[0] if len(pictures) == 1 else np.hstack(pictures)

    def enough_memory(self, item: Input) -> AbstractContextManager[None]:
        """Raise ``InputError`` for lack of memory in the block."""
        return memory_errors_as(
            InputError,
            f'{item.name}: not enough memory to read and colour it; make it smaller with another '
            'program, or leave more memory to this one',
        )


def results_by_task(result: Result) -> dict[str, Result]:
    """Return the results of all tasks, that of the main one, whose name is '', first."""
    others = {task: each for task, each in result.tasks.items() if each is not result}
    return {'': result, **others}


def main_task(result: Result) -> str:
    """Return the name of the task of a result."""
    return next(task for task, each in result.tasks.items() if each is result)


def bytes_of(value: Shown | Result | None) -> int:
    """Return the memory that an image or a result takes."""
    if value is None:
        return 0
    if isinstance(value, tuple):
        return sum(picture.nbytes for picture in value)
    if isinstance(value, np.ndarray):
        return value.nbytes
    return sum(each.nbytes for each in value.tasks.values())


def _standard_input(max_pixels: int) -> bytes:
    """Return the bytes of the image that another program writes.

    Raises:
        InputError: Nobody writes one, or more than the largest image has.
    """
    example = 'cat a.jpg | python infer.py -i -'
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError(f'standard input: no program writes an image to it; such as: {example}')
    try:
        data = sys.stdin.buffer.read(formats.HEAD_BYTES)
        if formats.format_of(data):  # another content can be endless
            limit = max_pixels * MAX_BYTES_PER_PIXEL
            blocks = [data]
            while block := sys.stdin.buffer.read(BLOCK_BYTES):
                blocks.append(block)
                limit -= len(block)
                if limit < 0:
                    raise InputError(
                        f'standard input: has more bytes than {max_pixels} pixels need'
                    )
            data = b''.join(blocks)
    except OSError as error:
        raise InputError(f'standard input: cannot be read ({error.strerror})') from error
    if not data:
        raise InputError(f'standard input: is empty; write an image to it: {example}')
    return data
