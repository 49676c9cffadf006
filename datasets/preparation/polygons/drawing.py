"""Draw the regions of an image as a map of class indices.

A pixel belongs to a region as the tools of its format say:

- COCO and CVAT: where COCO's tools set it (cocoapi, common/maskApi.c): pixel (x, y) covers the
  square from x to x + 1 and y to y + 1, and the outline is followed in fifths of pixels.
- LabelMe: where its own conversion sets it, that is Pillow: whole coordinates are the centres of
  pixels, and the outline belongs to the region. Lines are 10 pixels wide, points have a radius
  of 5.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from common.errors import InputError
from datasets.image_files import decode_image
from datasets.preparation.polygons import labelme
from datasets.preparation.polygons.annotations import (
    BITMAP,
    CIRCLE,
    LINE,
    POINT,
    RECTANGLE,
    RUNS,
    SEGMENTATION,
    Annotation,
    Region,
)
from datasets.readers import coco_masks

LINE_WIDTH, POINT_RADIUS = 10, 5  # pixels, of labelme/utils/shape.py


def draw(
    annotation: Annotation,
    image: Path,
    size: tuple[int, int],
    indices: Mapping[str, int],
    background: int,
) -> np.ndarray:
    """Return the class indices of an image, (H, W) uint8.

    Args:
        annotation: What the image shows.
        image: The image, for messages.
        size: Its height H and width W in pixels.
        indices: The class index of each label, or 255 for ignored pixels.
        background: The class index of pixels outside of all regions.

    Raises:
        InputError: The annotation is of an image of another size, or a bitmap in it is damaged.
    """
    if annotation.size not in (None, size):
        height, width = annotation.size or (0, 0)
        raise InputError(
            f'{annotation.source}: is of {width}x{height} pixels, but the image {image} has '
            f'{size[1]}x{size[0]}; annotate this image, or bring back the one that was annotated'
        )
    labels = np.full(size, background, np.uint8)
    for by_pillow, regions in groupby(annotation.regions, _is_drawn_by_pillow):
        if by_pillow:
            labels = _with_shapes(labels, list(regions), indices)
            continue
        for region in regions:
            index = indices[region.label]
            if region.kind == SEGMENTATION:
                first, mask = coco_masks.draw_columns(region.geometry, *size)
                labels[:, first : first + mask.shape[1]][mask] = index
            elif region.kind == RUNS:
                left, top, *own_size, runs = region.geometry
                _paste(labels, left, top, _mask_of_runs(runs, *own_size), index)
            else:
                left, top, *_ = region.geometry
                _paste(labels, left, top, _mask_of_bitmap(region, annotation), index)
    return labels


def _is_drawn_by_pillow(region: Region) -> bool:
    return region.kind not in (SEGMENTATION, RUNS, BITMAP)


def _with_shapes(
    labels: np.ndarray, regions: Sequence[Region], indices: Mapping[str, int]
) -> np.ndarray:
    """Return a map with the shapes of LabelMe on top."""
    image = Image.fromarray(labels)
    canvas = ImageDraw.Draw(image)
    for region in regions:
        index = indices[region.label]
        points = [(x, y) for x, y in region.geometry]
        if region.kind == RECTANGLE:
            (x1, y1), (x2, y2) = points
            box = [min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)]
            canvas.rectangle(box, fill=index, outline=index)
        elif region.kind in (CIRCLE, POINT):
            x, y = points[0]
            radius = math.dist(*points) if region.kind == CIRCLE else POINT_RADIUS
            box = [x - radius, y - radius, x + radius, y + radius]
            canvas.ellipse(box, fill=index, outline=index)
        elif region.kind == LINE:
            canvas.line(points, fill=index, width=LINE_WIDTH)
        else:
            canvas.polygon(points, fill=index, outline=index)
    return np.array(image)


def _mask_of_runs(runs: Sequence[int], width: int, height: int) -> np.ndarray:
    """Return the mask of run lengths by rows, (H, W) bool; the first run is outside."""
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)


def _mask_of_bitmap(region: Region, annotation: Annotation) -> np.ndarray:
    """Return the mask of a region in LabelMe's file that is a PNG, (H, W) bool."""
    left, top, right, bottom, text = region.geometry
    where = f'{annotation.source}, mask of {region.label}'
    mask = decode_image(labelme.decode_base64(text, annotation.source), where)[..., 0] > 0
    if mask.shape != (bottom - top, right - left):
        raise InputError(
            f'{where}: has {mask.shape[1]}x{mask.shape[0]} pixels, but its points are the corners '
            f'of {right - left}x{bottom - top}'
        )
    return mask


def _paste(labels: np.ndarray, left: int, top: int, mask: np.ndarray, index: int) -> None:
    """Set the pixels of a mask that lie within the map."""
    height, width = labels.shape
    own = mask[max(-top, 0) : max(height - top, 0), max(-left, 0) : max(width - left, 0)]
    place = labels[max(top, 0) :, max(left, 0) :][: own.shape[0], : own.shape[1]]
    place[own] = index
