"""Segment image and video files, and write pictures, class indices and colour maps."""

import errno
import itertools
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing
from functools import partial
from pathlib import Path

import numpy as np

from common.command import DONE, SOME_FAILED
from common.errors import InputError, UserError
from common.inputs import Input
from common.log import LOG
from common.memory import memory_errors_as
from common.terminal.printable import one_line
from common.terminal.progress import ProgressBar
from datasets import DatasetInfo, colours, image_files
from datasets.keys import DEFAULT_READING, ImageReading
from engine.config import loading as configs
from engine.inference import pictures, planning, test_time, video
from engine.inference.input_files import network_files
from engine.inference.loading import load
from engine.inference.planning import COLOR_ENDING, LABELS_ENDING, OutputPlan, Pair, map_path
from engine.inference.prefetch import run_pipeline
from engine.inference.settings import LooksSettings, SegmentSettings
from engine.inference.test_time import ProtocolKeys

LARGE_IMAGE_PIXELS = 512 * 512  # larger ones can take seconds
ROWS_PER_BLEND = 64  # rows of an image that are coloured at a time
# Errors that concern one file: its name is too long, or its path is occupied, as by a bad link.
ERRNOS_OF_ONE_FILE = (
    errno.ENAMETOOLONG,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.ELOOP,
    errno.ENOENT,
)

# An image, (H, W, 3) uint8 BGR -> the class of every pixel, (H, W) uint8.
Predict = Callable[[np.ndarray], np.ndarray]


def segment(settings: SegmentSettings) -> int:
    """Segment the files of the settings and print a summary.

    Returns:
        The exit status.

    Raises:
        UserError: The settings cannot be met, or the only file cannot be used.
    """
    config = configs.load(settings.config.config_file, settings.config.overrides)
    protocol = test_time.choose_protocol(settings.protocol, ProtocolKeys.of(config))
    protected = network_files(config, settings.weights, settings.backend)
    plan = planning.plan_outputs(settings.inputs, settings.output, settings.looks, protected)
    network = load(config, settings.weights, settings.device, settings.backend)
    predict = partial(network.predictor.labels, protocol=protocol)
    reading = ImageReading.of(config)
    return segment_plan(predict, network.info, plan, settings.looks, reading)


def segment_plan(
    predict: Predict,
    info: DatasetInfo,
    plan: OutputPlan,
    looks: LooksSettings,
    reading: ImageReading = DEFAULT_READING,
) -> int:
    """Segment all inputs of a plan and print a summary.

    Among several inputs, an unusable one is reported and counted, and the others are processed.

    Args:
        predict: Function from an image to its class map.
        info: Facts of the data set, with the colours and the names of the classes.
        plan: Inputs and the paths of their results.
        looks: Settings of the results.
        reading: Settings of the conversion of image files, and the limit of pixels.

    Returns:
        The exit status.

    Raises:
        UserError: The only file cannot be used, or an error concerns all files, such as a full
            disk.
    """
    started = time.monotonic()
    if plan.folder is None:
        (item, target), *_ = plan.pairs
        labels, status = None, DONE
        try:
            labels = segment_file(predict, info, item, target, looks, reading)
        except video.IncompleteVideo as error:
            LOG.warning('%s', error)
            status = SOME_FAILED
        print(f'{one_line(target)} written in {time.monotonic() - started:.1f} s')
        if labels is not None:
            for name, share in pictures.class_shares(labels, info):
                print(f'{share:7.1%}  {one_line(name)}')
        return status
    failed = len(plan.problems)
    for problem in plan.problems:
        print(f'error: {problem}', file=sys.stderr)
    total = len(plan.pairs)
    LOG.info('segmenting %d files', total)
    with (
        ProgressBar(total=total, unit='file', disable=None) as bar,  # None: shown on terminals only
        closing(_segment_files(predict, info, plan.pairs, looks, reading)) as errors,
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
        f'{done} of {total} files written to {one_line(plan.folder)} in {elapsed:.1f} s '
        f'({done / elapsed:.2f} per second)' + (f', {failed} could not be used' if failed else '')
    )
    return SOME_FAILED if failed else DONE


def _segment_files(
    predict: Predict,
    info: DatasetInfo,
    pairs: Sequence[Pair],
    looks: LooksSettings,
    reading: ImageReading,
) -> Generator[UserError | None, None, None]:
    """Segment files in a pipeline that reads the next images and writes the previous ones.

    Yields:
        The error of each file, in order; None for a file that succeeded.
    """

    def read(pair: Pair) -> np.ndarray | None:
        return None if pair[0].is_video else _read(pair[0], reading)

    def compute(pair: Pair, image: np.ndarray | None) -> tuple[np.ndarray, np.ndarray] | None:
        if image is None:
            segment_file(predict, info, *pair, looks, reading)
            return None
        return image, _labels(predict, image, pair[0])

    def write(pair: Pair, result: tuple[np.ndarray, np.ndarray] | None) -> None:
        if result is not None:
            _write(*result, info, *pair, looks)

    with closing(run_pipeline(pairs, read, compute, write, _image_bytes)) as errors:
        yield from errors


def _concerns_one_file(error: UserError) -> bool:
    """Return whether other files can still succeed; they cannot on a full disk, for example."""
    errno_of_cause = getattr(error.__cause__, 'errno', None)
    return isinstance(error, InputError) or errno_of_cause in ERRNOS_OF_ONE_FILE


def segment_file(
    predict: Predict,
    info: DatasetInfo,
    item: Input,
    target: Path,
    looks: LooksSettings,
    reading: ImageReading = DEFAULT_READING,
) -> np.ndarray | None:
    """Segment one image or video.

    Args:
        predict: Function from an image to its class map.
        info: Facts of the data set, with the colours and the names of the classes.
        item: The input.
        target: Path of the picture or of the video.
        looks: Settings of the result.
        reading: Settings of the conversion of image files, and the limit of pixels.

    Returns:
        The class map of an image; None for a video.

    Raises:
        InputError: The fault lies in this input alone.
        video.IncompleteVideo: The video is truncated; its readable frames were written.
        UserError: The fault concerns other inputs too.
    """
    if item.is_video:
        with _enough_memory(item):
            _segment_video(predict, info, item, target, looks, reading)
        return None
    image = _read(item, reading)
    height, width = image.shape[:2]
    if height * width >= LARGE_IMAGE_PIXELS:
        LOG.info('segmenting %s, %dx%d pixels', item.path, width, height)
    labels = _labels(predict, image, item)
    _write(image, labels, info, item, target, looks)
    return labels


def _read(item: Input, reading: ImageReading) -> np.ndarray:
    return image_files.read_image(item.path, reading)


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
        f'{item.path}: not enough memory to read and colour it; make it smaller with another '
        'program, or leave more memory to this one',
    )


def _labels(predict: Predict, image: np.ndarray, item: Input) -> np.ndarray:
    with _enough_memory(item):
        try:
            return predict(image)
        except InputError as error:  # its message does not name the file
            raise InputError(f'{item.path}: {error}') from error


class _EndOfVideo(UserError):
    """The video has no more frames."""


def _image_bytes(image: np.ndarray | None) -> int:
    return 0 if image is None else image.nbytes


def _segment_video(
    predict: Predict,
    info: DatasetInfo,
    item: Input,
    target: Path,
    looks: LooksSettings,
    reading: ImageReading,
) -> None:
    source, count = video.VideoReader(item.path, reading.max_pixels), 0
    LOG.info('segmenting %s, %s frames', item.path, source.frames or 'an unknown number of')

    def read(number: int) -> np.ndarray | None:
        return next(frames, None)

    def compute(number: int, frame: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        if frame is None:
            raise _EndOfVideo
        return frame, _labels(predict, frame, item)

    def write(number: int, result: tuple[np.ndarray, np.ndarray]) -> None:
        nonlocal count
        frame, labels = result
        append(_picture(frame, labels, info, looks))
        _save_maps(labels, info, target.with_suffix('') / f'{number:08d}.png', looks)
        count = number

    with video.video_writer(target, source.rate) as append:
        # disable=None: the bar is shown on terminals only.
        bar = ProgressBar(
            source, item.path.name, source.frames or None, leave=False, unit='frame', disable=None
        )
        frames = iter(bar)
        with closing(
            run_pipeline(itertools.count(1), read, compute, write, _image_bytes)
        ) as errors:
            error = next(filter(None, errors))
        if not isinstance(error, _EndOfVideo):
            raise error
    source.check_complete(count)


def _picture(
    image: np.ndarray, labels: np.ndarray, info: DatasetInfo, looks: LooksSettings
) -> np.ndarray:
    picture = np.empty_like(image)
    # In steps, because blending needs 16 times the image's memory.
    for top in range(0, len(image), ROWS_PER_BLEND):
        rows = slice(top, top + ROWS_PER_BLEND)
        picture[rows] = colours.overlay(image[rows], labels[rows], info.palette, looks.opacity)
    if not looks.legend:
        return picture
    return pictures.attach_panel(picture, pictures.legend_panel(len(picture), info))


def _save_maps(labels: np.ndarray, info: DatasetInfo, picture: Path, looks: LooksSettings) -> None:
    if looks.save_labels:
        image_files.write_image(map_path(picture, LABELS_ENDING), labels)
    if looks.save_color:
        image_files.write_palette_png(map_path(picture, COLOR_ENDING), labels, info.palette)
