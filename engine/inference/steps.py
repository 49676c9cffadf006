"""The steps that every input takes: read, segment, write the picture and its maps."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import InputError
from common.inputs import Input
from common.memory import memory_errors_as
from datasets import formats, image_files
from datasets.keys import DEFAULT_READING, ImageReading
from engine.inference.maps import save_maps
from engine.inference.segmentation import Segmentation
from engine.inference.settings import LooksSettings

SegmentImage = Callable[[np.ndarray], Segmentation]  # of an image, (H, W, 3) uint8, BGR
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
    """

    segment_image: SegmentImage
    looks: LooksSettings
    reading: ImageReading = DEFAULT_READING
    most_frames: int | None = None

    def read(self, item: Input) -> np.ndarray:
        """Return an image, (H, W, 3) uint8, BGR; raises ``InputError``."""
        if item.is_file:
            return image_files.read_image(item.path, self.reading)
        return image_files.decode_image(
            _standard_input(self.reading.max_pixels), item.name, self.reading
        )

    def segment(self, image: np.ndarray, item: Input) -> Segmentation:
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
            result.drop_scores()  # several results wait to be written
        return result

    def write(self, result: Segmentation, item: Input, target: Path) -> None:
        """Write the picture of an image and its maps; raises ``UserError``."""
        with self.enough_memory(item):
            image_files.write_image(target, self.picture(result))
            save_maps(result, target, self.looks)

    def picture(self, result: Segmentation) -> np.ndarray:
        """Return the picture of a result, (H, W, 3) uint8, BGR."""
        return result.overlay(self.looks.opacity, self.looks.legend)

    def enough_memory(self, item: Input) -> AbstractContextManager[None]:
        """Raise ``InputError`` for lack of memory in the block."""
        return memory_errors_as(
            InputError,
            f'{item.name}: not enough memory to read and colour it; make it smaller with another '
            'program, or leave more memory to this one',
        )


def bytes_of(value: np.ndarray | Segmentation | None) -> int:
    """Return the memory that an image or a result takes."""
    return 0 if value is None else value.nbytes


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
