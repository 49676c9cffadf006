"""Compute the answer to an uploaded picture or scene: decode, segment, encode."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from common.errors import InputError
from common.memory import memory_errors_as
from common.tasks import Task
from datasets import depth_files, optical_flow
from datasets.image_files import decode_image, encode_image, palette_png
from datasets.keys import ImageReading
from datasets.pixel_limit import TooManyPixelsError
from engine.inference.depth_map import DepthMap, Result
from engine.inference.scene import Scene
from engine.inference.test_time import Protocol
from engine.serve import schemas
from engine.serve.catalogue import Catalogue, CatalogueEntry
from engine.serve.json_answers import in_bytes, json_answer
from engine.serve.refusal import Refusal
from engine.serve.schemas import Output, Part
from engine.serve.upload import Upload

PNG, JSON = 'image/png', 'application/json'
TOO_LITTLE_MEMORY = (
    'not enough memory for this picture; send a smaller one, or give a smaller scale'
)


@dataclass(frozen=True)
class Wish:
    """What a client asks for.

    Attributes:
        entry: The model.
        output: Kind of the answer.
        scale: Scale at which the network sees the picture; None for the model's own views.
        include: Further parts of the JSON answer.
        task: The task whose picture is wanted.
    """

    entry: CatalogueEntry
    output: Output
    scale: float | None
    include: Sequence[Part]
    task: Task


@memory_errors_as(InputError, TOO_LITTLE_MEMORY)
def compute_answer(
    uploads: Sequence[Upload], wish: Wish, catalogue: Catalogue, max_pixels: int
) -> tuple[str, bytes]:
    """Return the media type and the bytes of the answer to a picture or scene.

    Args:
        uploads: The files, that of the camera image last.
        wish: What the client asks for.
        catalogue: The models.
        max_pixels: Pixels of the largest picture.

    Raises:
        Refusal: The picture is too large for the scale, those of a scene have other shapes, or
            the model cannot be loaded.
        InputError: The file cannot be decoded, or the memory does not suffice.
    """
    protocol = wish.entry.scaled(wish.scale)
    segmenter = catalogue.segmenter(wish.entry)
    limit = min(max_pixels, segmenter.reading.max_pixels)
    reading = replace(segmenter.reading, max_pixels=limit)
    pictures = [
        _decoded(upload, is_flow, reading)
        for upload, is_flow in zip(uploads, wish.entry.flow, strict=True)
    ]
    _check_scaled(pictures[-1], wish.scale, protocol, limit)
    scene = Scene(tuple(pictures), wish.entry.flow)
    try:
        scene.check_shapes()
    except InputError as error:
        raise Refusal(422, f'{uploads[0].name}: {error}') from error
    started = time.monotonic()
    result = segmenter.segment_scene(scene, protocol)
    if wish.output is Output.JSON:
        computation = _computation(scene, wish, protocol, time.monotonic() - started)
        answer = json_answer(result, wish.include, computation)
        return JSON, answer.model_dump_json(exclude_unset=True).encode()
    return PNG, _picture(result.tasks[wish.task.name], wish.output)


def _decoded(upload: Upload, is_flow: bool, reading: ImageReading) -> np.ndarray:
    decode = optical_flow.decode if is_flow else decode_image
    try:
        return decode(upload.data, upload.name, reading)
    except TooManyPixelsError as error:  # its remedies are those of a command
        raise Refusal(
            413,
            f'{upload.name}: more than {reading.max_pixels} pixels; make it smaller, or start the '
            'server with a larger --max-pixels',
        ) from error


def _computation(
    scene: Scene, wish: Wish, protocol: Protocol, seconds: float
) -> schemas.Computation:
    height, width = scene.size
    return schemas.Computation(
        model=wish.entry.name,
        width=width,
        height=height,
        scale=wish.scale,
        views=[schemas.Size(height=h, width=w) for h, w in protocol.views(height, width)],
        seconds=round(seconds, 3),
    )


def _picture(result: Result, output: Output) -> bytes:
    """Return the PNG of one task."""
    if isinstance(result, DepthMap):
        if output is Output.LABELS:
            return depth_files.encode(result.known)
        return encode_image('.png', result.picture())
    if output is Output.LABELS:
        return encode_image('.png', result.labels)
    if output is Output.OVERLAY:
        return encode_image('.png', result.overlay())
    if output is Output.PALETTE:
        return palette_png(result.labels, result.palette)
    return encode_image('.png', in_bytes(result.confidence))


def _check_scaled(image: np.ndarray, scale: float | None, protocol: Protocol, limit: int) -> None:
    height, width = image.shape[:2]
    (view_height, view_width), *_ = protocol.views(height, width)
    if scale is not None and view_height * view_width > limit:
        raise Refusal(
            413,
            f'scale: {view_width}x{view_height} pixels, but the network sees at most {limit} here; '
            'give a smaller scale',
        )
