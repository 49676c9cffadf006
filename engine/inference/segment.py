"""Segment files: each input goes through the predictor and comes back as a picture, class indices,
colours.
"""

import errno
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path

import numpy as np
from tqdm import tqdm

from common.command import DONE, SOME_FAILED
from common.errors import InputError, UserError
from common.inputs import Input
from common.log import LOG
from common.memory import lack_of_memory_as
from datasets import DatasetInfo, colours, image_files
from engine.inference import pictures, video
from engine.inference.planning import COLOR, LABELS, Options, Pair, Plan, beside
from engine.inference.predictor import Predictor
from engine.inference.prefetch import overlapped

ROWS = 64  # of an image that are coloured at a time
# Errors of one file: its name is too long, or what it needs is taken.
ONE_FILE = (errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EEXIST)


def segment(predictor: Predictor, info: DatasetInfo, plan: Plan, options: Options) -> int:
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
            labels = segment_file(predictor, info, item, target, options)
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
        closing(_segment_files(predictor, info, plan.pairs, options)) as errors,
    ):
        for error in errors:
            if error is not None:
                if not _concerns_one_file(error):
                    raise error
                failed += 1
                bar.write(f'error: {error}', file=sys.stderr)
            bar.update()
    elapsed, total = time.monotonic() - started, total + len(plan.problems)
    done = total - failed
    print(
        f'{done} of {total} files written to {plan.folder} in {elapsed:.1f} s '
        f'({done / elapsed:.2f} a second)' + (f', {failed} could not be used' if failed else '')
    )
    return SOME_FAILED if failed else DONE


def _segment_files(
    predictor: Predictor, info: DatasetInfo, pairs: Sequence[Pair], options: Options
) -> Iterator[UserError | None]:
    """Segment files one after the other, while the next image is read and the last one written.

    Yields the error of each file, in order; None for a file that is done.
    """

    def read(pair):
        return None if pair[0].is_video else _read(pair[0])

    def compute(pair, image):
        if image is None:
            segment_file(predictor, info, *pair, options)
            return None
        return image, _labels(predictor, image, pair[0], options)

    def write(pair, result):
        if result is not None:
            _write(*result, info, *pair, options)

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
    predictor: Predictor, info: DatasetInfo, item: Input, target: Path, options: Options
) -> np.ndarray | None:
    """Segment one image or video; returns the class map of an image.

    Raises ``InputError`` for what this input alone is to blame for, ``video.Incomplete`` after a
    truncated video is written as far as it goes, ``UserError`` for what would stop others too.
    """
    if item.is_video:
        with _enough_memory(item):
            return _segment_video(predictor, info, item, target, options)
    image = _read(item)
    labels = _labels(predictor, image, item, options)
    _write(image, labels, info, item, target, options)
    return labels


def _read(item) -> np.ndarray:
    with _enough_memory(item):
        return image_files.read_image(item.path)


def _write(image, labels, info, item, target, options):
    with _enough_memory(item):
        image_files.write_image(target, _picture(image, labels, info, options))
        _save_maps(labels, info, target, options)


def _enough_memory(item: Input) -> AbstractContextManager[None]:
    return lack_of_memory_as(
        InputError,
        f'{item.path}: not enough memory to read and to colour it; make it smaller with another '
        'program, or leave more memory to this one',
    )


def _labels(predictor, image, item, options):
    with _enough_memory(item):
        try:
            return predictor.labels(image, options.protocol)
        except InputError as error:  # which does not know the file
            raise InputError(f'{item.path}: {error}') from error


class _End(UserError):
    """A video has no more frames."""


def _bytes(image) -> int:
    return 0 if image is None else image.nbytes


def _segment_video(predictor, info, item, target, options):
    source, count = video.Video(item.path), 0

    def read(number):
        return next(frames, None)

    def compute(number, frame):
        if frame is None:
            raise _End
        return frame, _labels(predictor, frame, item, options)

    def write(number, result):
        nonlocal count
        frame, labels = result
        append(_picture(frame, labels, info, options))
        _save_maps(labels, info, target.with_suffix('') / f'{number:08d}.png', options)
        count = number

    with video.writing(target, source.rate) as append:
        frames = tqdm(  # on a terminal only
            source, item.path.name, source.frames or None, leave=False, unit='frame', disable=None
        )
        frames = iter(frames)
        with closing(overlapped(itertools.count(1), read, compute, write, _bytes)) as errors:
            error = next(filter(None, errors))
        if not isinstance(error, _End):
            raise error
    source.check_complete(count)


def _picture(image, labels, info, options):
    picture = np.empty_like(image)
    for top in range(0, len(image), ROWS):  # because blending takes 16 times the image's memory
        rows = slice(top, top + ROWS)
        picture[rows] = colours.overlay(image[rows], labels[rows], info.palette, options.opacity)
    return (
        pictures.beside(picture, pictures.legend(len(picture), info)) if options.legend else picture
    )


def _save_maps(labels, info, picture, options):
    if options.save_labels:
        image_files.write_image(beside(picture, LABELS), labels)
    if options.save_color:
        image_files.write_palette_png(beside(picture, COLOR), labels, info.palette)
