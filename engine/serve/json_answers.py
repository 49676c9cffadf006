"""Build the JSON answers to pictures and scenes: facts and maps of every task."""

import base64
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from datasets import depth_files, value_colours
from datasets.image_files import encode_image, palette_png
from engine.inference.depth_map import DepthMap, Result
from engine.inference.segmentation import Segmentation
from engine.serve import schemas
from engine.serve.colours import hexadecimal
from engine.serve.schemas import Part

COMPRESSION = 1  # of zlib: class maps become small at any level


def json_answer(
    result: Result, include: Sequence[Part], computation: schemas.Computation
) -> schemas.Answer | schemas.TasksAnswer:
    """Return the answer with all tasks of a result.

    Args:
        result: The result of any of the tasks.
        include: Further parts of the answer.
        computation: How the result was computed.
    """
    facts = dict(computation)
    answer: schemas.Answer | schemas.TasksAnswer
    if len(result.tasks) == 1 and isinstance(result, Segmentation):
        answer = schemas.Answer(**facts, **_class_parts(result, include))
    else:
        tasks = {name: _of_task(each, include) for name, each in result.tasks.items()}
        answer = schemas.TasksAnswer(**facts, tasks=tasks)
    if Part.ORIGINAL in include:
        answer.original = _base64(encode_image('.jpg', result.image))
    return answer


def _of_task(result: Result, include: Sequence[Part]) -> schemas.ClassTask | schemas.DepthTask:
    if isinstance(result, DepthMap):
        return _depth_task(result, include)
    return schemas.ClassTask(kind='classes', **_class_parts(result, include))


def _class_parts(result: Segmentation, include: Sequence[Part]) -> dict[str, Any]:
    """Return the fields of :class:`engine.serve.schemas.FoundClasses`."""
    confidence = result.confidence
    parts: dict[str, Any] = {
        'confidence': float(confidence.mean(dtype=np.float64)),
        'classes': _found_classes(result),
    }
    if Part.PICTURES in include:
        parts['pictures'] = schemas.Pictures(
            labels=_base64(encode_image('.png', result.labels)),
            palette=_base64(palette_png(result.labels, result.palette)),
        )
    if Part.PIXELS in include:
        parts['pixels'] = schemas.Pixels(
            labels=_compressed(result.labels), confidence=_compressed(in_bytes(confidence))
        )
    return parts


def _depth_task(result: DepthMap, include: Sequence[Part]) -> schemas.DepthTask:
    near, far = value_colours.usable_limits(result.limits)
    median, low, high = result.range
    task = schemas.DepthTask(
        kind='depth',
        median=median,
        low=low,
        high=high,
        colours=schemas.DepthColours(
            near=near,
            far=far,
            marks=value_colours.ticks((near, far)),
        ),
    )
    if Part.PICTURES in include:
        task.pictures = schemas.DepthPictures(
            depth=_base64(depth_files.encode(result.known)),
            overlay=_base64(encode_image('.png', result.picture())),
        )
    if Part.PIXELS in include:
        task.pixels = schemas.DepthPixels(
            depth=_compressed(depth_files.values_of(result.known)),
            ramp=[hexadecimal(colour) for colour in value_colours.ramp()],
        )
    return task


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


def in_bytes(confidence: np.ndarray) -> np.ndarray:
    """Return confidences from 0 to 1 as 0 to 255, (H, W) uint8."""
    return np.rint(confidence * np.float32(255)).astype(np.uint8)


def _compressed(values: np.ndarray) -> str:
    return _base64(zlib.compress(values.tobytes(), COMPRESSION))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
