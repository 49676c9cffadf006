"""Segment files: each input goes through a network and comes back as a picture, class indices,
colours.
"""

import errno
import itertools
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from common.command import DONE, SOME_FAILED
from common.errors import InputError, UserError
from common.inputs import Input
from common.log import LOG
from common.memory import memory_errors_as
from datasets import DatasetInfo, colours, image_files
from engine.config import loading as configs
from engine.inference import pictures, planning, test_time, video
from engine.inference.loading import load
from engine.inference.planning import COLOR, LABELS, OutputPlan, Pair, beside
from engine.inference.prefetch import overlapped
from engine.inference.settings import LooksSettings, SegmentSettings
from engine.inference.test_time import ProtocolKeys

ROWS = 64  # of an image that are coloured at a time
# Errors of one file: its name is too long, or what it needs is taken.
ONE_FILE = (errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EEXIST)

# An image, (H, W, 3) uint8 BGR -> the class of every pixel, (H, W) uint8.
Predict = Callable[[np.ndarray], np.ndarray]


def segment(settings: SegmentSettings) -> int:
    """Segment files as the settings say, and print what was written; returns the exit status.

    Raises:
        UserError: The settings cannot be met, or the only file cannot be used.
    """
    config = configs.load(settings.config.config_file, settings.config.overrides)
    protocol = test_time.choose(settings.protocol, ProtocolKeys.of(config))
    plan = planning.plan(settings.inputs, settings.output, settings.looks)
    network = load(config, settings.weights, settings.device, settings.backend)
    predict = partial(network.predictor.labels, protocol=protocol)
    return segment_plan(predict, configs.class_info(config), plan, settings.looks)


def segment_plan(
    predict: Predict, info: DatasetInfo, plan: OutputPlan, looks: LooksSettings
) -> int:
    """Segment all inputs of a plan and report; returns the exit status.

    An input that cannot be used is an error when it is the only file named; else it is reported and
    counted, and the others are done. What would stop the others too, such as a full disk, is an
    error.
    """
    started = time.monotonic()
    if plan.folder is None:
        (item, target), *_ = plan.pairs
        labels, status = None, DONE
        try:
            labels = segment_file(predict, info, item, target, looks)
        except video.Incomplete as error:
            LOG.warning('%s', error)
            status = SOME_FAILED
        print(f'{target} written in {time.monotonic() - started:.1f} s')
        if labels is not None:
            for name, share in pictures.shares(labels, info):
                print(f'{share:7.1%}  {name}')
        return status
    failed = len(plan.problems)
    for problem in plan.problems:
        print(f'error: {problem}', file=sys.stderr)
    total = len(plan.pairs)
    with (
        tqdm(total=total, unit='file', disable=None) as bar,  # None: on a terminal only
        closing(_segment_files(predict, info, plan.pairs, looks)) as errors,
    ):
        for failure in errors:
            if failure is not None:
                if not _concerns_one_file(failure):
                    raise failure
                failed += 1
                bar.write(f'error: {failure}', file=sys.stderr)
            bar.update()
    elapsed, total = time.monotonic() - started, total + len(plan.problems)
    done = total - failed
    print(
        f'{done} of {total} files written to {plan.folder} in {elapsed:.1f} s '
        f'({done / elapsed:.2f} a second)' + (f', {failed} could not be used' if failed else '')
    )
    return SOME_FAILED if failed else DONE


def _segment_files(
    predict: Predict, info: DatasetInfo, pairs: Sequence[Pair], looks: LooksSettings
) -> Generator[UserError | None, None, None]:
    """Segment files one after the other, while the next image is read and the last one written.

    Yields the error of each file, in order; None for a file that is done.
    """

    def read(pair: Pair) -> np.ndarray | None:
        return None if pair[0].is_video else _read(pair[0])

    def compute(pair: Pair, image: np.ndarray | None) -> tuple[np.ndarray, np.ndarray] | None:
        if image is None:
            segment_file(predict, info, *pair, looks)
            return None
        return image, _labels(predict, image, pair[0])

    def write(pair: Pair, result: tuple[np.ndarray, np.ndarray] | None) -> None:
        if result is not None:
            _write(*result, info, *pair, looks)

    # OpenCV's messages are switched on and off for all threads.
    with (
        image_files.silent_opencv(),
        closing(overlapped(pairs, read, compute, write, _bytes)) as errors,
    ):
        yield from errors


def _concerns_one_file(error: UserError) -> bool:
    """Whether other files may fare better: not so when the disk is full or the folder closed."""
    return isinstance(error, InputError) or getattr(error.__cause__, 'errno', None) in ONE_FILE


def segment_file(
    predict: Predict, info: DatasetInfo, item: Input, target: Path, looks: LooksSettings
) -> np.ndarray | None:
    """Segment one image or video; returns the class map of an image.

    Raises ``InputError`` for what this input alone is to blame for, ``video.Incomplete`` after a
    truncated video is written as far as it goes, ``UserError`` for what would stop others too.
    """
    if item.is_video:
        with _enough_memory(item):
            _segment_video(predict, info, item, target, looks)
        return None
    image = _read(item)
    labels = _labels(predict, image, item)
    _write(image, labels, info, item, target, looks)
    return labels


def _read(item: Input) -> np.ndarray:
    with _enough_memory(item):
        return image_files.read_image(item.path)


def _write(
    image: np.ndarray,
    labels: np.ndarray,
    info: DatasetInfo,
    item: Input,
    target: Path,
    looks: LooksSettings,
) -> None:
    with _enough_memory(item):
        image_files.write_image(target, _picture(image, labels, info, looks))
        _save_maps(labels, info, target, looks)


def _enough_memory(item: Input) -> AbstractContextManager[None]:
    return memory_errors_as(
        InputError,
        f'{item.path}: not enough memory to read and to colour it; make it smaller with another '
        'program, or leave more memory to this one',
    )


def _labels(predict: Predict, image: np.ndarray, item: Input) -> np.ndarray:
    with _enough_memory(item):
        try:
            return predict(image)
        except InputError as error:  # which does not know the file
            raise InputError(f'{item.path}: {error}') from error


class _End(UserError):
    """A video has no more frames."""


def _bytes(image: np.ndarray | None) -> int:
    return 0 if image is None else image.nbytes


def _segment_video(
    predict: Predict, info: DatasetInfo, item: Input, target: Path, looks: LooksSettings
) -> None:
    source, count = video.Video(item.path), 0

    def read(number: int) -> np.ndarray | None:
        return next(frames, None)

    def compute(number: int, frame: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        if frame is None:
            raise _End
        return frame, _labels(predict, frame, item)

    def write(number: int, result: tuple[np.ndarray, np.ndarray]) -> None:
        nonlocal count
        frame, labels = result
        append(_picture(frame, labels, info, looks))
        _save_maps(labels, info, target.with_suffix('') / f'{number:08d}.png', looks)
        count = number

    with video.writing(target, source.rate) as append:
        bar = tqdm(  # on a terminal only
            source, item.path.name, source.frames or None, leave=False, unit='frame', disable=None
        )
        frames = iter(bar)
        with closing(overlapped(itertools.count(1), read, compute, write, _bytes)) as errors:
            error = next(filter(None, errors))
        if not isinstance(error, _End):
            raise error
    source.check_complete(count)


def _picture(
    image: np.ndarray, labels: np.ndarray, info: DatasetInfo, looks: LooksSettings
) -> np.ndarray:
    picture = np.empty_like(image)
    for top in range(0, len(image), ROWS):  # because blending takes 16 times the image's memory
        rows = slice(top, top + ROWS)
        picture[rows] = colours.overlay(image[rows], labels[rows], info.palette, looks.opacity)
    return (
        pictures.beside(picture, pictures.legend(len(picture), info)) if looks.legend else picture
    )


def _save_maps(labels: np.ndarray, info: DatasetInfo, picture: Path, looks: LooksSettings) -> None:
    if looks.save_labels:
        image_files.write_image(beside(picture, LABELS), labels)
    if looks.save_color:
        image_files.write_palette_png(beside(picture, COLOR), labels, info.palette)
