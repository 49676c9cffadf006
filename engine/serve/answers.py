"""Compute the answer to an uploaded picture: decode, segment, encode."""

import base64
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from common.errors import InputError
from common.memory import memory_errors_as
from datasets.image_files import decode_image, encode_image, palette_png
from datasets.pixel_limit import TooManyPixelsError
from engine.inference.segmentation import Segmentation
from engine.inference.test_time import Protocol
from engine.serve import schemas
from engine.serve.catalogue import Catalogue, CatalogueEntry
from engine.serve.colours import hexadecimal
from engine.serve.refusal import Refusal
from engine.serve.schemas import Output, Part
from engine.serve.upload import Upload

PNG, JSON = 'image/png', 'application/json'
TOO_LITTLE_MEMORY = (
    'not enough memory for this picture; send a smaller one, or give a smaller scale'
)
COMPRESSION = 1  # of zlib: class maps become small at any level


@dataclass(frozen=True)
class Wish:
    """What a client asks for.

    Attributes:
        entry: The model.
        output: Kind of the answer.
        scale: Scale at which the network sees the picture; None for the model's own views.
        include: Further parts of the JSON answer.
    """

    entry: CatalogueEntry
    output: Output
    scale: float | None
    include: Sequence[Part]


@memory_errors_as(InputError, TOO_LITTLE_MEMORY)
def compute_answer(
    upload: Upload, wish: Wish, catalogue: Catalogue, max_pixels: int
) -> tuple[str, bytes]:
    """Return the media type and the bytes of the answer to a picture.

    Args:
        upload: The file.
        wish: What the client asks for.
        catalogue: The models.
        max_pixels: Pixels of the largest picture.

    Raises:
        Refusal: The picture is too large for the scale, or the model cannot be loaded.
        InputError: The file cannot be decoded, or the memory does not suffice.
    """
    protocol = wish.entry.scaled(wish.scale)
    segmenter = catalogue.segmenter(wish.entry)
    limit = min(max_pixels, segmenter.reading.max_pixels)
    reading = replace(segmenter.reading, max_pixels=limit)
    try:
        image = decode_image(upload.data, upload.name, reading)
    except TooManyPixelsError as error:  # its remedies are those of a command
        raise Refusal(
            413,
            f'{upload.name}: more than {limit} pixels; make it smaller, or start the server with '
            'a larger --max-pixels',
        ) from error
    _check_scaled(image, wish.scale, protocol, limit)
    started = time.monotonic()
    result = segmenter.classes_of(image, protocol)
    if wish.output is Output.LABELS:
        return PNG, encode_image('.png', result.labels)
    if wish.output is Output.OVERLAY:
        return PNG, encode_image('.png', result.overlay())
    if wish.output is Output.PALETTE:
        return PNG, palette_png(result.labels, result.palette)
    if wish.output is Output.CONFIDENCE:
        return PNG, encode_image('.png', _in_bytes(result.confidence))
    answer = _json(result, wish, protocol, time.monotonic() - started)
    return JSON, answer.model_dump_json(exclude_unset=True).encode()


def _check_scaled(image: np.ndarray, scale: float | None, protocol: Protocol, limit: int) -> None:
    height, width = image.shape[:2]
    (view_height, view_width), *_ = protocol.views(height, width)
    if scale is not None and view_height * view_width > limit:
        raise Refusal(
            413,
            f'scale: {view_width}x{view_height} pixels, but the network sees at most {limit} here; '
            'give a smaller scale',
        )


def _json(result: Segmentation, wish: Wish, protocol: Protocol, seconds: float) -> schemas.Answer:
    height, width = result.labels.shape
    confidence = result.confidence
    answer = schemas.Answer(
        model=wish.entry.name,
        width=width,
        height=height,
        scale=wish.scale,
        views=[schemas.Size(height=h, width=w) for h, w in protocol.views(height, width)],
        seconds=round(seconds, 3),
        confidence=float(confidence.mean(dtype=np.float64)),
        classes=_found_classes(result),
    )
    if Part.PICTURES in wish.include:
        answer.pictures = schemas.Pictures(
            labels=_base64(encode_image('.png', result.labels)),
            palette=_base64(palette_png(result.labels, result.palette)),
        )
    if Part.PIXELS in wish.include:
        answer.pixels = schemas.Pixels(
            labels=_compressed(result.labels), confidence=_compressed(_in_bytes(confidence))
        )
    if Part.ORIGINAL in wish.include:
        answer.original = _base64(encode_image('.jpg', result.image))
    return answer


def _found_classes(result: Segmentation) -> list[schemas.FoundClass]:
    """Return the classes that occur, the largest first."""
    count = len(result.classes)
    pixels, sums = np.zeros(count, np.int64), np.zeros(count)
    for labels, confidence in zip(result.labels, result.confidence):  # NumPy copies to 8 bytes
        pixels += np.bincount(labels, minlength=count)
        sums += np.bincount(labels, confidence, minlength=count)
    order = np.argsort(-pixels, kind='stable')
    return [
        schemas.FoundClass(
            index=int(index),
            name=result.classes[index],
            colour=hexadecimal(result.palette[index]),
            share=float(pixels[index] / result.labels.size),
            pixels=int(pixels[index]),
            confidence=float(sums[index] / pixels[index]),
        )
        for index in order
        if pixels[index]
    ]


def _in_bytes(confidence: np.ndarray) -> np.ndarray:
    """Return confidences from 0 to 1 as 0 to 255, (H, W) uint8."""
    return np.rint(confidence * np.float32(255)).astype(np.uint8)


def _compressed(values: np.ndarray) -> str:
    return _base64(zlib.compress(values.tobytes(), COMPRESSION))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
