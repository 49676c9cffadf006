"""Read PNG masks of any kind: grey with 1 to 16 bits, palette, colour, with or without alpha.

Programs write one mask in many ways. :func:`read` brings them to a common form, without a decision
about what the values mean.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from common.errors import InputError
from datasets.library_settings import silent_opencv
from datasets.readers import label_files
from datasets.readers.label_files import PngFile

_PER_LEVEL = 257  # a 16-bit value per 8-bit grey level
_LAST = 255


@dataclass(frozen=True)
class Mask:
    """The pixels of a mask file.

    Attributes:
        path: The file.
        values: (H, W) uint8, stored grey values or palette indices; None for a colour image.
        colours: (H, W, 3) uint8, RGB; None unless ``values`` is.
        shown: (256, 3) uint8, the colour that viewers show for each value; RGB.
        has_palette: Whether a palette defines ``shown``.
        is_rgb: Whether the file stores three channels; their values may be equal.
        bits: Bits of a stored value.
    """

    path: Path
    values: np.ndarray | None
    colours: np.ndarray | None
    shown: np.ndarray
    has_palette: bool = False
    is_rgb: bool = False
    bits: int = 8


def read(path: Path) -> Mask:
    """Return the content of a mask file.

    Raises:
        InputError: The file is unreadable or no PNG, it has transparent pixels, or 16-bit values
            that cannot be classes.
    """
    png = label_files.open_png(path)
    if png.image.mode == 'P':
        return _with_palette(png, path)
    if png.bits == 16:
        pixels = _eight_bits(_sixteen_bits(png, path), path)
    elif png.bits < 8:
        levels = np.asarray(png.image.convert('L'))
        pixels = levels // (_LAST // (2**png.bits - 1))  # decoders scale them to 0..255
    else:
        pixels = np.asarray(png.image)
    pixels = _opaque(pixels, path)
    if pixels.ndim == 2:
        return Mask(path, pixels, None, _grey_levels(min(png.bits, 8)), bits=png.bits)
    if (pixels == pixels[..., :1]).all():
        grey = np.ascontiguousarray(pixels[..., 0])
        return Mask(path, grey, None, _grey_levels(8), is_rgb=True, bits=png.bits)
    return Mask(path, None, pixels, _grey_levels(8), is_rgb=True, bits=png.bits)


def _with_palette(png: PngFile, path: Path) -> Mask:
    values = np.asarray(png.image)
    own = np.array(png.image.getpalette(), np.uint8).reshape(-1, 3)
    shown = np.zeros((256, 3), np.uint8)
    shown[: len(own)] = own
    used = label_files.occurring_values(values)
    ramp = _grey_levels(8)
    if (shown[used] == ramp[used]).all():  # the palette of grey files
        return Mask(path, values, None, ramp)
    return Mask(path, values, None, shown, has_palette=True)


def _grey_levels(bits: int) -> np.ndarray:
    """Return the colours of grey values, (256, 3) uint8."""
    levels = np.minimum(np.arange(256) * (_LAST // (2**bits - 1)), _LAST)
    return np.repeat(levels.astype(np.uint8)[:, None], 3, axis=1)


def _sixteen_bits(png: PngFile, path: Path) -> np.ndarray:
    """Return 16-bit pixels, (H, W) or (H, W, 3 or 4) in RGB order; Pillow drops the low byte."""
    with silent_opencv:
        pixels = cv2.imdecode(np.frombuffer(png.data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise InputError(f'{path}: cannot be decoded; save it as an 8-bit PNG')
    if pixels.ndim == 2:
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


def _eight_bits(pixels: np.ndarray, path: Path) -> np.ndarray:
    """Return 16-bit pixels as 8-bit ones, if they are that; alpha is always scaled."""
    colours = pixels[..., :3] if pixels.ndim == 3 else pixels
    if colours.max() > _LAST:
        if (colours % _PER_LEVEL).any():
            some = ', '.join(map(str, np.unique(colours[colours > _LAST])[:3]))
            raise InputError(
                f'{path}: 16-bit values such as {some}; are they ids of instances? A label file '
                'needs the class of each pixel: save class indices as an 8-bit grey PNG'
            )
        colours = colours // _PER_LEVEL
    colours = colours.astype(np.uint8)
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        return np.dstack([colours, (pixels[..., 3] // _PER_LEVEL).astype(np.uint8)])
    return colours


def _opaque(pixels: np.ndarray, path: Path) -> np.ndarray:
    """Return grey or colour pixels without their alpha channel; raises ``InputError``."""
    if pixels.ndim == 2 or pixels.shape[2] == 3:
        return pixels
    transparent = pixels[..., -1] < _LAST
    if transparent.any():
        raise InputError(
            f'{path}: {transparent.mean():.2%} of the pixels are transparent, so their class is '
            'unclear; save the mask without an alpha channel'
        )
    return np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 2 else pixels[..., :3])
