"""Resample windows of images, optical flow, labels and depth without resizing the rest.

The result equals that of resizing the whole and cropping afterwards; pixels of images may differ by
one level. Images and labels may be memory-mapped: only the pages that a window needs are read,
unless the image is rotated or averaged.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from datasets import optical_flow
from datasets.info import IGNORE

# Resampling starts at a position where the grids of source and target agree within this tolerance,
# in source pixels. Twice this (for two axes) times 255 levels is below one level.
ALIGNMENT_TOLERANCE = 1 / 600
# Colour around a rotated image; the input statistics of TI's networks map it to 0.
ROTATION_FILL = (128, 128, 128)


@dataclass(frozen=True)
class View:
    """A window of a resized image.

    Attributes:
        size: (height, width) of the resized image.
        top: First row of the window in the resized image.
        left: First column of the window.
        height: Height of the window in pixels.
        width: Width of the window in pixels.
        flip: Mirror the window horizontally.
        smooth: Average when shrinking, as Pillow does, instead of interpolating between four
            pixels, as OpenCV does. Only for views of the whole image.
        angle: Counter-clockwise rotation about the centre in degrees, before the image is resized.
            Pixels from outside the image are grey; in labels they are ignored.
        area: Average the image if one of its sides shrinks, as OpenCV's INTER_AREA does.
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
    """Return the window of an image, interpolated bilinearly unless the view averages.

    The pixels differ by at most one level from those of resizing the whole image.

    Args:
        image: (H, W, 3) uint8.
        view: The window.

    Returns:
        (height, width, 3) uint8.
    """
    if view.angle:
        image = _rotate(image, view.angle, cv2.INTER_LINEAR, ROTATION_FILL)
    out = _window(image, view)
    return cv2.flip(out, 1) if view.flip else out


def resample_flow(picture: np.ndarray, view: View) -> np.ndarray:
    """Return the window of a picture of optical flow, with the vectors that belong to it.

    TexasInstruments/edgeai-torchvision, references/edgeailite/edgeai_xvision/xvision/transforms/
    image_transform_utils.py and image_transforms.py (RandomRotate, RandomHorizontalFlip) at
    f85ec314. As there, rotation takes the nearest vector.

    Differs from the original: rotation there computes v from u as turned already.

    Args:
        picture: (H, W, 3) uint8 or float32, see :mod:`datasets.optical_flow`.
        view: The window.

    Returns:
        (height, width, 3) float32.
    """
    values = picture.astype(np.float32)
    if view.angle:
        values = _rotate(values, view.angle, cv2.INTER_NEAREST, ROTATION_FILL)
        values = optical_flow.turn_vectors(values, view.angle)
    out = _window(values, view)
    height, width = picture.shape[:2]
    out = optical_flow.scale_vectors(out, view.size[1] / width, view.size[0] / height)
    return optical_flow.mirror_vectors(cv2.flip(out, 1)) if view.flip else out


def resize_flow(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a whole picture of optical flow for inference, as :func:`resize_image` does images.

    Args:
        picture: (H, W, 3) uint8 or float32, see :mod:`datasets.optical_flow`.
        size: Height and width of the result.

    Returns:
        (height, width, 3) float32, with the vectors of the new size.
    """
    height, width = picture.shape[:2]
    values = resize_image(picture.astype(np.float32), size)
    return optical_flow.scale_vectors(values, size[1] / width, size[0] / height)


def _window(image: np.ndarray, view: View) -> np.ndarray:
    """Return the window of an image of any type, not mirrored."""
    if view.smooth and view.size != image.shape[:2]:
        return _smooth(image, view.size)
    if view.area and any(new < old for new, old in zip(view.size, image.shape)):
        averaged = cv2.resize(image, view.size[::-1], interpolation=cv2.INTER_AREA)
        return averaged[view.top : view.top + view.height, view.left : view.left + view.width]
    return _bilinear(image, view)


def _smooth(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return an image resized as Pillow does, which averages when it shrinks."""
    if image.dtype == np.uint8:
        whole = Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)
        return np.asarray(whole)
    planes = [Image.fromarray(plane) for plane in cv2.split(image)]  # no floats in colour
    return cv2.merge(
        [np.asarray(each.resize(size[::-1], Image.Resampling.BILINEAR)) for each in planes]
    )


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a whole image for inference: average it if it gets smaller, else interpolate.

    Args:
        image: (H, W, 3) uint8 or float32.
        size: Height and width of the result.

    Returns:
        (height, width, 3) of the same type; ``image`` itself if it has the size already.
    """
    height, width = image.shape[:2]
    if (height, width) == tuple(size):
        return image
    smaller = size[0] * size[1] < height * width
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(image, size[::-1], interpolation=method)


def resample_label(label: np.ndarray, view: View, outside: int = IGNORE) -> np.ndarray:
    """Return the window of a label map, or of depth, resized with nearest neighbours.

    Depth is not scaled with the picture.

    Args:
        label: (H, W) uint8, or float32 for depth.
        view: The window.
        outside: Value of pixels that rotation moves in from outside; 0 is unknown depth.

    Returns:
        (height, width) of the same type.
    """
    if view.angle:
        label = _rotate(label, view.angle, cv2.INTER_NEAREST, outside)
    if view.smooth and view.size != label.shape:
        whole = Image.fromarray(label).resize(view.size[::-1], Image.Resampling.NEAREST)
        out = np.asarray(whole)
        return cv2.flip(out, 1) if view.flip else out
    rows = _nearest(view.top, view.height, label.shape[0], view.size[0])
    columns = _nearest(view.left, view.width, label.shape[1], view.size[1])
    return label[rows].take(columns[::-1] if view.flip else columns, axis=1)


def _rotate(image: np.ndarray, angle: float, interpolation: int, border) -> np.ndarray:
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width // 2, height // 2), angle, 1)
    return cv2.warpAffine(image, matrix, (width, height), flags=interpolation, borderValue=border)


def _bilinear(image: np.ndarray, view: View) -> np.ndarray:
    rows = _span(view.top, view.height, image.shape[0], view.size[0])
    columns = _span(view.left, view.width, image.shape[1], view.size[1])
    part = image[rows.source, columns.source]
    if view.size != image.shape[:2]:
        size = round(part.shape[0] * rows.factor), round(part.shape[1] * columns.factor)
        if size == part.shape[:2]:  # OpenCV would copy the part, although the factors are not 1
            whole = cv2.resize(image, view.size[::-1], interpolation=cv2.INTER_LINEAR)
            return whole[view.top : view.top + view.height, view.left : view.left + view.width]
        # With factors instead of a size, OpenCV samples the source in exactly these steps.
        part = cv2.resize(
            part, None, fx=columns.factor, fy=rows.factor, interpolation=cv2.INTER_LINEAR
        )
    return part[rows.skip : rows.skip + view.height, columns.skip : columns.skip + view.width]


@dataclass(frozen=True)
class _Span:
    """The source pixels of one axis, their resize factor, and the resized pixels to skip first."""

    source: slice
    factor: float
    skip: int


def _span(first: int, count: int, source: int, target: int) -> _Span:
    """Return the source pixels that bilinear interpolation needs for a range of target pixels.

    A resized part has the same pixels as the resized whole only if the part starts where both grids
    meet. So the source pixels start at the last such position before the window.

    Args:
        first: First target pixel of the range.
        count: Number of target pixels in the range.
        source: Length of the source axis.
        target: Length of the resized axis.
    """
    if source == target:
        return _Span(slice(first, first + count), 1, 0)
    step = source / target
    # The first pixels of a part lack their left neighbours in the source.
    latest = first - int(np.ceil(0.5 / step))
    starts = np.arange(max(latest, 0), -1, -1)
    positions = starts * step
    aligned = abs(positions - np.rint(positions)) <= ALIGNMENT_TOLERANCE
    start = int(starts[np.argmax(aligned)])  # position 0 always is aligned
    begin = round(start * step)
    end = min(source, int(np.ceil((first + count) * step)) + 2)
    return _Span(slice(begin, end), target / source, first - start)


def _nearest(first: int, count: int, source: int, target: int) -> np.ndarray:
    """Return the nearest source pixel of each target pixel in a range, rounded as in OpenCV."""
    step = 1 / (target / source)
    indices = np.floor(np.arange(first, first + count) * step).astype(np.intp)
    return np.minimum(indices, source - 1)
