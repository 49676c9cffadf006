"""Find the first picture of each scene, for networks with two inputs."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import InputError, UserError
from common.files import kind_of
from common.inputs import IMAGE_SUFFIXES, Input
from datasets import optical_flow
from datasets.keys import ImageReading
from datasets.preparation.flow.compute import flow_picture
from engine.inference.input_images import bgr_image, flow_picture_of

FIRST_INPUT = '--first-input'


@dataclass(frozen=True)
class FirstPictures:
    """The first pictures of the scenes whose camera images are the inputs of infer.py.

    Attributes:
        place: A picture, or a folder that has one for each image, under the name of the image.
            Those of videos are computed from their frames.
        is_flow: Whether they are optical flow; else the frame before.
        reading: How image files are read.
    """

    place: Path | None
    is_flow: bool
    reading: ImageReading

    def check(self, inputs: Sequence[Input]) -> None:
        """Raise ``UserError`` if there is no picture for any image, or no image for the pictures.

        One that lacks among several is an error of its image, as a damaged file is.
        """
        images = [item for item in inputs if not item.is_video]
        if images and self.place is None:
            raise UserError(
                f'{images[0].name}: the network takes two pictures of a scene, and this is the '
                f'camera image; pass the first one, or a folder of them, with {FIRST_INPUT} '
                '(python -m datasets.prepare flow computes optical flow)'
            )
        if self.place is None:
            return
        if not images:
            raise UserError(
                f'{FIRST_INPUT}: the first pictures of a video come from its frames; leave it out'
            )
        kind = kind_of(self.place)
        if kind is None:
            raise UserError(f'{FIRST_INPUT} {self.place}: there is no such file or folder')
        if kind == 'file' and len(images) > 1:
            raise UserError(
                f'{FIRST_INPUT} {self.place}: is one picture, but there are {len(images)} images; '
                'name a folder that has a picture for each'
            )
        if not any(map(self._found, images)):
            self.path_of(images[0])

    def files(self) -> Iterator[Path]:
        """Yield the files that results must not overwrite."""
        if self.place is not None:
            yield self.place
            yield from self.place.rglob('*')

    def path_of(self, item: Input) -> Path:
        """Return the file with the first picture of an image; raises ``InputError``."""
        found = self._found(item)
        if found is None:
            expected = self._candidates(item)[0]
            raise InputError(f'{item.name}: the first picture of its scene is missing: {expected}')
        return found

    def _found(self, item: Input) -> Path | None:
        assert self.place is not None
        if kind_of(self.place) == 'file':
            return self.place
        return next((path for path in self._candidates(item) if path.exists()), None)

    def _candidates(self, item: Input) -> list[Path]:
        """Return the files that the folder can have for an image."""
        assert self.place is not None
        stem = self.place / item.relative.with_suffix('')
        endings = ('.png',) if self.is_flow else IMAGE_SUFFIXES
        return [stem.with_name(stem.name + ending) for ending in endings]

    def of(self, item: Input) -> np.ndarray:
        """Return the first picture of an image, (H, W, 3) uint8, BGR; raises ``InputError``."""
        path = self.path_of(item)
        return (flow_picture_of if self.is_flow else bgr_image)(path, self.reading)

    def with_frames(self, frames: Iterator[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield each frame of a video with the picture that comes from the frame before.

        The first frame has flow without movement, or is its own frame before.
        """
        previous: np.ndarray | None = None
        for frame in frames:
            before = frame if previous is None else previous
            if not self.is_flow:
                yield before, frame
            elif previous is None:
                still = np.full_like(frame, optical_flow.ZERO)
                still[..., 0] = optical_flow.SURE
                yield still, frame
            else:
                yield flow_picture(before, frame)[0], frame
            previous = frame.copy()  # readers reuse the array of a frame


def expanded(place: str | os.PathLike[str] | None) -> Path | None:
    """Return the path of an option, with the home folder in place of ``~``."""
    return None if place is None else Path(os.path.expanduser(place))
