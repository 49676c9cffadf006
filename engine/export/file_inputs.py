"""Convert images to the inputs that an exported file takes."""

import numpy as np

from datasets.loading.resample import resize_image
from engine.backends.base import Shape
from engine.export.spec import NORMALISED, ExportSpec
from engine.inference.predictor import normalise
from engine.inference.scene import Picture, Scene
from models import Network


def pixels_of(image: Picture, network: Network, spec: ExportSpec) -> np.ndarray:
    """Convert an image, (H, W, 3) uint8, BGR, to a file's input without its first axis.

    It is (3, H, W); of the k pictures of a scene, all of one size, (3k, H, W).
    """
    if isinstance(image, Scene):
        return np.concatenate([pixels_of(each, network, spec) for each in image.pictures])
    if spec.pixels == NORMALISED:
        return normalise(image, network.info)
    ordered = image[..., ::-1] if network.info.channel_order == 'rgb' else image
    return np.ascontiguousarray(ordered.transpose(2, 0, 1)).astype(spec.pixels)


def batch_of(image: np.ndarray, network: Network, shape: Shape, spec: ExportSpec) -> np.ndarray:
    """Resize an image and repeat it to an input of a shape, (N, 3, H, W)."""
    height, width = shape[2:]
    pixels = pixels_of(resize_image(image, (height, width)), network, spec)
    return np.repeat(pixels[None], shape[0], axis=0)
