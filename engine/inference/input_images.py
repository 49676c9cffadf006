"""Turn what a program holds of an image into the array that the network's steps take."""

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from common import once
from common.errors import InputError
from common.inputs import VIDEO_SUFFIXES
from common.terminal.short_repr import short_repr
from datasets import image_files, optical_flow, orientation
from datasets.decoding import decoding
from datasets.formats import UnknownFormatError
from datasets.keys import ImageReading

# Pillow's modes of 8 bits or less per channel, which become RGB without loss of range.
_PILLOW_MODES = (
    '1', 'L', 'LA', 'P', 'PA', 'RGB', 'RGBA', 'RGBa', 'RGBX', 'CMYK', 'YCbCr', 'HSV',
)  # fmt: skip


def bgr_image(source: Any, reading: ImageReading) -> np.ndarray:
    """Return an image as (H, W, 3) uint8, BGR.

    Args:
        source: The path of an image file, a uint8 array (H, W, 3), BGR, or (H, W), grey, or an
            image of Pillow.
        reading: How a file is read.

    Raises:
        InputError: The source is none of these, or the file cannot be used.
    """
    if isinstance(source, (str, os.PathLike)):
        return _of_file(os.fsdecode(source), reading)
    if isinstance(source, np.ndarray):
        return _of_array(source)
    if isinstance(source, Image.Image):
        return _of_pillow(source)
    if source is None:
        raise InputError(
            'None is not an image; cv2.imread returns it for a file that it cannot read: pass the '
            'path instead'
        )
    if isinstance(source, (bytes, bytearray, memoryview)):
        raise InputError(
            f'{type(source).__name__} are not an image; decode those of an image file with '
            'datasets.image_files.decode_image(data, name), or pass a path as str'
        )
    raise InputError(
        f'{short_repr(source)} ({type(source).__name__}) is not an image; pass a path, a uint8 '
        'array (H, W, 3), BGR, or (H, W), grey, an image of Pillow, or a list of these'
    )


def flow_picture_of(source: Any, reading: ImageReading) -> np.ndarray:
    """Return a picture of optical flow as :mod:`datasets.optical_flow` describes it.

    Args:
        source: The path of a PNG file, or an array (H, W, 3) uint8: confidence, v + 128, u + 128.
        reading: How a file is read.

    Raises:
        InputError: The source is none of these, or the file cannot be used.
    """
    if isinstance(source, (str, os.PathLike)):
        return optical_flow.read(Path(os.path.expanduser(os.fsdecode(source))), reading)
    return bgr_image(source, reading)


def _of_file(name: str, reading: ImageReading) -> np.ndarray:
    if '://' in name:
        raise InputError(
            f'{name}: is an address; download the picture and pass the path of its file'
        )
    path = Path(os.path.expanduser(name))
    try:
        return image_files.read_image(path, reading)
    except UnknownFormatError as error:
        if path.suffix.lower() not in VIDEO_SUFFIXES:
            raise
        raise InputError(
            f'{path}: a video is many images; pass each frame of engine.VideoReader({str(path)!r})'
        ) from error


def _of_array(array: np.ndarray) -> np.ndarray:
    remedy = _remedy_for_shape(array)
    if remedy:
        raise InputError(f'an array of the shape {array.shape} is not one image; {remedy}')
    if array.dtype != np.uint8:
        raise InputError(
            f'an array of {array.dtype} is not an image of uint8 values, 0 to 255; '
            + _remedy_for_type(array.dtype)
        )
    if array.ndim == 2:
        return cv2.cvtColor(np.ascontiguousarray(array), cv2.COLOR_GRAY2BGR)
    return np.array(array, order='C')  # a copy, as readers of videos reuse the array of a frame


def _remedy_for_shape(array: np.ndarray) -> str:
    """Return what to do with an array that is not (H, W, 3) or (H, W); nothing for one that is."""
    shape = array.shape
    if 0 in shape:
        return 'it has no pixels'
    if array.ndim == 2 or (array.ndim == 3 and shape[2] == 3):
        return ''
    if array.ndim == 4:
        return 'pass a list of images, each (H, W, 3) or (H, W)'
    if array.ndim == 3 and shape[2] == 4:
        return 'drop the fourth channel: image[..., :3]'
    if array.ndim == 3 and shape[2] == 1:
        return 'pass it as grey: image[..., 0]'
    if array.ndim == 3 and shape[0] == 3:
        return 'the channels come last: image.transpose(1, 2, 0)'
    return 'an image is (H, W, 3), BGR, or (H, W), grey'


def _remedy_for_type(dtype: np.dtype) -> str:
    if dtype.kind == 'b':
        return 'convert it: image.astype(np.uint8) * 255'
    if dtype.kind == 'f':
        return 'convert values from 0 to 1 with (image * 255).round().astype(np.uint8)'
    if dtype.kind == 'u' and dtype.itemsize == 2:  # of either byte order
        return 'convert all 16 bits with (image >> 8).astype(np.uint8), or pass the path'
    return 'convert values from 0 to 255 with image.astype(np.uint8)'


def _of_pillow(image: Image.Image) -> np.ndarray:
    if image.mode not in _PILLOW_MODES:
        raise InputError(
            f"an image of Pillow of the mode {image.mode} is not read; pass its file's path, or "
            + _remedy_for_mode(image.mode)
        )
    if 0 in image.size:
        raise InputError('an image of Pillow without pixels is not one to segment')
    path = Path(getattr(image, 'filename', '') or 'the image of Pillow')
    # Pillow turns a TIFF upright itself.
    turn = orientation.UPRIGHT if image.format == 'TIFF' else orientation.of_image(image)
    if turn != orientation.UPRIGHT:
        once.warn(
            'pillow_orientation',
            f'{path}: is used as its pixels are, though its EXIF orientation is {turn}; '
            'PIL.ImageOps.exif_transpose(image) turns it upright, as a path is',
        )
    with decoding(path):
        if 'transparency' in image.info:  # Pillow warns if it drops that of a palette
            image = image.convert('RGBA')
        return cv2.cvtColor(np.asarray(image.convert('RGB')), cv2.COLOR_RGB2BGR)


def _remedy_for_mode(mode: str) -> str:
    if mode == 'La':
        return "convert it: image.convert('LA')"
    if mode == 'LAB':
        return "convert it: image.convert('RGB')"
    return 'the array of its values, np.asarray(image), brought to 0 to 255 and uint8'
