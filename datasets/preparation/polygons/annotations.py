"""What annotation files say about an image, in one form for all tools."""

import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.reading import json_text
from datasets.readers import coco_masks

MAX_REGIONS = 100_000  # of an image
MAX_VERTICES = 1_000_000  # of an image
# Kinds of regions. Their geometries are plain values of JSON.
SEGMENTATION = 'segmentation'  # polygons or an RLE of COCO
POLYGON = 'polygon'  # here and below, points as labelme draws them
RECTANGLE, CIRCLE, LINE, POINT = 'rectangle', 'circle', 'line', 'point'
BITMAP = 'bitmap'  # left, top, and a PNG as base64
RUNS = 'runs'  # left, top, width, height, and run lengths by rows


@dataclass(frozen=True)
class Region:
    """A part of an image with a label.

    Attributes:
        label: Name of its class.
        kind: A constant of this module.
        geometry: Its form, as its kind says.
    """

    label: str
    kind: str
    geometry: Any


@dataclass(frozen=True)
class Annotation:
    """The regions of an image, in the order in which they are drawn.

    Attributes:
        source: The annotation file.
        image: The path of the image, as the file says it.
        size: Height and width of the image, if the file says them.
        labels: The names of all labels.
        packed: The regions as compressed JSON: for a large data set, objects would take gigabytes.
        undrawn: Number of shapes without an area, which are left out.
        is_alone: Whether the file is of this image alone.
        has_image: Whether the file contains the image as well.
    """

    source: Path
    image: str
    size: tuple[int, int] | None
    labels: tuple[str, ...]
    packed: bytes
    undrawn: int = 0
    is_alone: bool = False
    has_image: bool = False

    @cached_property
    def regions(self) -> list[Region]:
        """The regions."""
        return [Region(*each) for each in json.loads(zlib.decompress(self.packed))]


def make(
    source: Path,
    image: str,
    size: tuple[int, int] | None,
    regions: Sequence[Region],
    undrawn: int = 0,
    is_alone: bool = False,
    has_image: bool = False,
) -> Annotation:
    """Return an annotation; its arguments are the attributes, with the regions themselves.

    Raises:
        InputError: There are more regions or vertices than are drawn.
    """
    if len(regions) > MAX_REGIONS:
        raise InputError(f'{source}: {len(regions)} shapes of {image}, more than {MAX_REGIONS}')
    vertices = sum(map(_vertices, regions))
    if vertices > MAX_VERTICES:
        raise InputError(f'{source}: {vertices} vertices of {image}, more than {MAX_VERTICES}')
    plain = [[region.label, region.kind, region.geometry] for region in regions]
    labels = tuple(dict.fromkeys(region.label for region in regions))
    packed = zlib.compress(json.dumps(plain, separators=(',', ':')).encode())
    return Annotation(source, image, size, labels, packed, undrawn, is_alone, has_image)


def checked_points(points: Any) -> list[list[float]]:
    """Return a list of pairs of numbers of a possible size; raise ``ValueError`` for others."""
    if not isinstance(points, list) or not points:
        raise ValueError('has no points')
    for point in points:
        if not isinstance(point, list) or len(point) != 2 or not all(map(_is_place, point)):
            raise ValueError(
                f'a point is not [x, y], two numbers up to {coco_masks.MAX_COORDINATE}'
            )
    return points


def check_length(polygons: Iterable[Sequence[float]]) -> None:
    """Raise ``ValueError`` if the outlines of an image are too long to be drawn.

    Args:
        polygons: For each outline its coordinates, x and y in turn.
    """
    coco_masks.check_outlines([list(polygons)])


def _is_place(value: Any) -> bool:
    return json_text.is_number(value) and abs(value) <= coco_masks.MAX_COORDINATE


def _vertices(region: Region) -> int:
    geometry = region.geometry
    if region.kind == SEGMENTATION and isinstance(geometry, list):
        return sum(map(len, geometry)) // 2
    return len(geometry)
