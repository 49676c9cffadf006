"""The pictures of one scene, as a network with several inputs takes them."""

from dataclasses import dataclass

import numpy as np

from common.errors import InputError
from common.tasks import PICTURE_CHANNELS
from datasets import optical_flow
from datasets.keys import FLOW
from datasets.loading import transforms
from datasets.loading.resample import resize_flow, resize_image
from datasets.scenes import same_shape
from engine.config.config import Config
from engine.config.data import input_kind
from engine.inference.test_time import Size, size_of
from models import NetworkInfo


@dataclass(frozen=True)
class Scene:
    """Pictures of the same view; the last one is the camera image, which results belong to.

    Attributes:
        pictures: Each (H, W, 3) uint8, BGR; sizes can differ.
        flow: For each picture, whether it is optical flow (:mod:`datasets.optical_flow`).
    """

    pictures: tuple[np.ndarray, ...]
    flow: tuple[bool, ...]

    @classmethod
    def of_image(cls, image: np.ndarray) -> 'Scene':
        """Return the scene of a network with one input."""
        return cls((image,), (False,))

    @property
    def image(self) -> np.ndarray:
        """The camera image, (H, W, 3) uint8, BGR."""
        return self.pictures[-1]

    @property
    def size(self) -> Size:
        """Height and width of the camera image."""
        return size_of(self.image)

    @property
    def nbytes(self) -> int:
        """Size of all pictures in bytes."""
        return sum(picture.nbytes for picture in self.pictures)

    def check(self, info: NetworkInfo) -> None:
        """Raise ``InputError`` unless the network takes as many pictures, of the same shape."""
        if len(self.pictures) != info.inputs:
            raise InputError(wrong_number(len(self.pictures), info))
        self.check_shapes()

    def check_shapes(self) -> None:
        """Raise ``InputError`` unless all pictures have the shape of the camera image."""
        for picture in self.pictures:
            if not same_shape(size_of(picture), self.size):
                (own_height, own_width), (height, width) = size_of(picture), self.size
                raise InputError(
                    f'the first picture of the scene has {own_width}x{own_height} pixels, and the '
                    f'image {width}x{height}, which is another shape; do they belong together? '
                    'python -m datasets.prepare flow computes flow from the images'
                )

    def normalised(self, size: Size, info: NetworkInfo) -> np.ndarray:
        """Resize and normalise all pictures: (3k, height, width) float32.

        Args:
            size: Height and width of the view.
            info: Facts of the network.
        """
        x = np.empty((PICTURE_CHANNELS * len(self.pictures), *size), np.float32)
        for number, (picture, is_flow) in enumerate(zip(self.pictures, self.flow, strict=True)):
            resized = (resize_flow if is_flow else resize_image)(picture, size)
            out = x[PICTURE_CHANNELS * number :][:PICTURE_CHANNELS]
            transforms.normalise(resized, info.mean, info.std, info.channel_order, out)
        return x

    def mirrored(self, x: np.ndarray, info: NetworkInfo) -> np.ndarray:
        """Return the mirror image of a view, whose flow points the other way.

        Args:
            x: A result of :meth:`normalised`.
            info: Facts of the network.
        """
        x = x[..., ::-1]
        if any(self.flow):
            x = x.copy()
            across = 0 if info.channel_order == 'rgb' else optical_flow.U
            zero = (optical_flow.ZERO - info.mean[across]) / info.std[across]
            for number, is_flow in enumerate(self.flow):
                if is_flow:
                    channel = PICTURE_CHANNELS * number + across
                    x[channel] = np.float32(2 * zero) - x[channel]
        return x


Picture = np.ndarray | Scene  # (H, W, 3) uint8, BGR, or the pictures of a scene


def scene_of(picture: Picture) -> Scene:
    """Return a scene, also of the image of a network with one input."""
    return picture if isinstance(picture, Scene) else Scene.of_image(picture)


def wrong_number(given: int, info: NetworkInfo) -> str:
    """Return the message for another number of pictures than the network takes."""
    if info.inputs == 1:
        return f'the network takes one picture, not {given}'
    return (
        f'the network takes {info.inputs} pictures of a scene, not {given}; pass them as a tuple, '
        'the camera image last: (flow, image)'
    )


def flow_of(config: Config, inputs: int) -> tuple[bool, ...]:
    """Return for each picture of a scene whether it is optical flow.

    Args:
        config: The config, see :func:`engine.config.data.input_kind`.
        inputs: Number of pictures.
    """
    first = inputs > 1 and input_kind(config) == FLOW
    return (first,) * (inputs - 1) + (False,)
