"""Image files: reading whatever photographers and programs produce, writing what others read."""

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from command import InputError, UserError
from files import replacing


def read_image(path: Path) -> np.ndarray:
    """An image file as a ``uint8`` BGR array (H, W, 3).

    Grey becomes BGR, 16 bits become 8, alpha is dropped and an EXIF rotation is applied. OpenCV
    decodes, as in the published code; Pillow looks first, because OpenCV returns half an image from
    a truncated file without a word. Raises ``InputError``.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror})') from error
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except UnidentifiedImageError:
        pass  # a format that OpenCV may know
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f'{path}: damaged or truncated image ({error})') from error
    except Image.DecompressionBombError:
        pass  # only large: more than 179 million pixels
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error as error:
        raise InputError(f'{path}: cannot be decoded ({error.err})') from error
    if image is None:
        raise InputError(f'{path}: not an image, or of a format that OpenCV does not read')
    return image


def write_image(path: Path, image: np.ndarray):
    """Write a ``uint8`` BGR or grey image in the format of its ending; raises ``UserError``."""
    try:
        encoded, data = cv2.imencode(path.suffix, image)
    except cv2.error as error:
        raise UserError(f'{path}: cannot be encoded ({error.err})') from error
    if not encoded:
        raise UserError(
            f'{path}: {path.suffix} cannot hold {image.shape[1]}x{image.shape[0]} pixels'
        )
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_palette_png(path: Path, labels: np.ndarray, palette: Sequence[Sequence[int]]):
    """Write class indices (H, W) as a PNG with a palette, whose values are indices and which
    viewers show in colour.
    """
    image = Image.fromarray(labels, mode='P')
    image.putpalette([value for colour in palette for value in colour])
    with replacing(path) as temporary:
        image.save(temporary, format='PNG')


def check_format(path: Path):
    """Raise ``UserError`` when no image format has the ending of ``path``."""
    if not path.suffix or not cv2.haveImageWriter(str(path)):
        raise UserError(
            f'{path}: OpenCV writes no {path.suffix or "images without an ending"}; '
            'end the name in .jpg or .png'
        )
