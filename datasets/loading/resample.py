"""Views: windows of resized images and labels, resampled without resizing the rest.

The pixels are those of resizing everything and cropping afterwards. Images and labels may be
read-only views of files: only what a window needs is touched, unless the image is turned or
averaged.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from datasets.info import IGNORE

# A window's first pixel is moved to where the source's grid and the target's meet this closely, in
# source pixels. Twice this (there are two axes) times 255 levels stays below one level.
TOLERANCE = 1 / 600
GREY = (128, 128, 128)  # beside a turned image: the value that TI's networks see as 0


@dataclass(frozen=True)
class View:
    """A window of a resized image: the pixels ``top`` to ``top + height`` and ``left`` to ``left +
    width`` of the image at ``size`` (height, width), mirrored if ``flip``.

    smooth: a smaller image is averaged, as Pillow does, not interpolated between four pixels, as
    OpenCV does. Smooth views are of whole images. angle: in degrees, by which the image is turned
    to the left about its centre before anything else; what comes in from outside is grey, and
    ignored in labels. area: an image of which a side shrinks is averaged, as OpenCV's INTER_AREA
    does.
    """

    size: tuple[int, int]
    top: int
    left: int
    height: int
    width: int
    flip: bool = False
    smooth: bool = False
    angle: float = 0.0
    area: bool = False


def resample_image(image: np.ndarray, view: View) -> np.ndarray:
    """The window of a view, ``uint8`` (height, width, 3), bilinear unless averaged; at most one
    level from the pixels that resizing the whole image gives.
    """
    if view.angle:
        image = _turned(image, view.angle, cv2.INTER_LINEAR, GREY)
    if view.smooth and view.size != image.shape[:2]:
        whole = Image.fromarray(image).resize(view.size[::-1], Image.Resampling.BILINEAR)
        out = np.asarray(whole)
    elif view.area and any(new < old for new, old in zip(view.size, image.shape)):
        averaged = cv2.resize(image, view.size[::-1], interpolation=cv2.INTER_AREA)
        out = averaged[view.top : view.top + view.height, view.left : view.left + view.width]
    else:
        out = _bilinear(image, view)
    return cv2.flip(out, 1) if view.flip else out


def resample_label(label: np.ndarray, view: View) -> np.ndarray:
    """The window of a view, ``uint8`` (height, width), each pixel the one of ``label`` that
    resizing the whole label with nearest neighbours gives.
    """
    if view.angle:
        label = _turned(label, view.angle, cv2.INTER_NEAREST, IGNORE)
    if view.smooth and view.size != label.shape:
        whole = Image.fromarray(label).resize(view.size[::-1], Image.Resampling.NEAREST)
        out = np.asarray(whole)
        return cv2.flip(out, 1) if view.flip else out
    rows = _nearest(view.top, view.height, label.shape[0], view.size[0])
    columns = _nearest(view.left, view.width, label.shape[1], view.size[1])
    return label[rows].take(columns[::-1] if view.flip else columns, axis=1)


def _turned(image: np.ndarray, angle: float, interpolation: int, border) -> np.ndarray:
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width // 2, height // 2), angle, 1)
    return cv2.warpAffine(image, matrix, (width, height), flags=interpolation, borderValue=border)


def _bilinear(image: np.ndarray, view: View) -> np.ndarray:
    rows = _span(view.top, view.height, image.shape[0], view.size[0])
    columns = _span(view.left, view.width, image.shape[1], view.size[1])
    part = image[rows.source, columns.source]
    if view.size != image.shape[:2]:
        size = round(part.shape[0] * rows.factor), round(part.shape[1] * columns.factor)
        if size == part.shape[:2]:  # OpenCV would copy the part, however the factors differ from 1
            whole = cv2.resize(image, view.size[::-1], interpolation=cv2.INTER_LINEAR)
            return whole[view.top : view.top + view.height, view.left : view.left + view.width]
        # Given factors instead of a size, OpenCV steps through the source by exactly these.
        part = cv2.resize(
            part, None, fx=columns.factor, fy=rows.factor, interpolation=cv2.INTER_LINEAR
        )
    return part[rows.skip : rows.skip + view.height, columns.skip : columns.skip + view.width]


@dataclass(frozen=True)
class _Span:
    """Source pixels of one axis, the factor to resize them by, and how many pixels to skip then."""

    source: slice
    factor: float
    skip: int


def _span(first: int, count: int, source: int, target: int) -> _Span:
    """The pixels of an axis of length ``source`` from which those from ``first`` on of the axis at
    length ``target`` are interpolated.

    Resizing a part is resizing the whole only if the part begins where both grids meet; so it
    begins at the last such place before the window.
    """
    if source == target:
        return _Span(slice(first, first + count), 1, 0)
    step = source / target
    # The first pixels of a part lack their left neighbours in the source.
    latest = first - int(np.ceil(0.5 / step))
    starts = np.arange(max(latest, 0), -1, -1)
    positions = starts * step
    aligned = abs(positions - np.rint(positions)) <= TOLERANCE
    start = int(starts[np.argmax(aligned)])  # 0 always is
    begin = round(start * step)
    end = min(source, int(np.ceil((first + count) * step)) + 2)
    return _Span(slice(begin, end), target / source, first - start)


def _nearest(first: int, count: int, source: int, target: int) -> np.ndarray:
    """OpenCV's nearest source pixels (its rounding included) of ``count`` pixels from ``first``."""
    step = 1 / (target / source)
    indices = np.floor(np.arange(first, first + count) * step).astype(np.intp)
    return np.minimum(indices, source - 1)
