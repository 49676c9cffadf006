"""Segment image and video files, and write pictures, class indices and colour maps."""

import errno
import itertools
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path

import numpy as np

from common.command import DONE, SOME_FAILED
from common.errors import InputError, UserError
from common.inputs import Input
from common.log import LOG
from common.memory import memory_errors_as
from common.terminal.printable import one_line
from common.terminal.progress import ProgressBar
from datasets import image_files
from datasets.keys import DEFAULT_READING, ImageReading
from engine.config import loading as configs
from engine.inference import file_network, planning, test_time, video
from engine.inference.input_files import network_files
from engine.inference.planning import COLOR_ENDING, LABELS_ENDING, OutputPlan, Pair, map_path
from engine.inference.prefetch import run_pipeline
from engine.inference.segmentation import Segmentation
from engine.inference.segmenter import Segmenter
from engine.inference.settings import LooksSettings, SegmentSettings
from engine.inference.test_time import ProtocolKeys

LARGE_IMAGE_PIXELS = 512 * 512  # larger ones can take seconds
# Errors that concern one file: its name is too long, or its path is occupied, as by a bad link.
ERRNOS_OF_ONE_FILE = (
    errno.ENAMETOOLONG,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.ELOOP,
    errno.ENOENT,
)

SegmentImage = Callable[[np.ndarray], Segmentation]  # of an image, (H, W, 3) uint8, BGR


def segment(settings: SegmentSettings) -> int:
    """Segment the files of the settings and print a summary.

    Returns:
        The exit status.

    Raises:
        UserError: The settings cannot be met, or the only file cannot be used.
    """
    config = configs.load(settings.config.config_file, settings.config.overrides)
    config = file_network.config_of(config, settings.weights)
    protocol = test_time.choose_protocol(settings.protocol, ProtocolKeys.of(config))
    protected = network_files(config, settings.weights, settings.backend.calibration)
    plan = planning.plan_outputs(settings.inputs, settings.output, settings.looks, protected)
    segmenter = Segmenter.of_settings(
        config, settings.weights, settings.device, settings.backend, protocol
    )
    return segment_plan(segmenter, plan, settings.looks, segmenter.reading)


def segment_plan(
    segment_image: SegmentImage,
    plan: OutputPlan,
    looks: LooksSettings,
    reading: ImageReading = DEFAULT_READING,
) -> int:
    """Segment all inputs of a plan and print a summary.

    Among several inputs, an unusable one is reported and counted, and the others are processed.

    Args:
        segment_image: Segments an image.
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
        result, status = None, DONE
        try:
            result = segment_file(segment_image, item, target, looks, reading)
        except video.IncompleteVideo as error:
            LOG.warning('%s', error)
            status = SOME_FAILED
        print(f'{one_line(target)} written in {time.monotonic() - started:.1f} s')
        if result is not None:
            for name, share in result.shares.items():
                print(f'{share:7.1%}  {one_line(name)}')
        return status
    failed = len(plan.problems)
    for problem in plan.problems:
        print(f'error: {problem}', file=sys.stderr)
    total = len(plan.pairs)
    LOG.info('segmenting %d files', total)
    with (
        ProgressBar(total=total, unit='file', disable=None) as bar,  # None: shown on terminals only
        closing(_segment_files(segment_image, plan.pairs, looks, reading)) as errors,
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
    segment_image: SegmentImage,
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

    def compute(pair: Pair, image: np.ndarray | None) -> Segmentation | None:
        if image is None:
            segment_file(segment_image, *pair, looks, reading)
            return None
        return _segmented(segment_image, image, pair[0])

    def write(pair: Pair, result: Segmentation | None) -> None:
        if result is not None:
            _write(result, *pair, looks)

    with closing(run_pipeline(pairs, read, compute, write, _image_bytes)) as errors:
        yield from errors


def _concerns_one_file(error: UserError) -> bool:
    """Return whether other files can still succeed; they cannot on a full disk, for example."""
    errno_of_cause = getattr(error.__cause__, 'errno', None)
    return isinstance(error, InputError) or errno_of_cause in ERRNOS_OF_ONE_FILE


def segment_file(
    segment_image: SegmentImage,
    item: Input,
    target: Path,
    looks: LooksSettings,
    reading: ImageReading = DEFAULT_READING,
) -> Segmentation | None:
    """Segment one image or video.

    Args:
        segment_image: Segments an image.
        item: The input.
        target: Path of the picture or of the video.
        looks: Settings of the result.
        reading: Settings of the conversion of image files, and the limit of pixels.

    Returns:
        The result of an image; None for a video.

    Raises:
        InputError: The fault lies in this input alone.
        video.IncompleteVideo: The video is truncated; its readable frames were written.
        UserError: The fault concerns other inputs too.
    """
    if item.is_video:
        with _enough_memory(item):
            _segment_video(segment_image, item, target, looks, reading)
        return None
    image = _read(item, reading)
    height, width = image.shape[:2]
    if height * width >= LARGE_IMAGE_PIXELS:
        LOG.info('segmenting %s, %dx%d pixels', item.path, width, height)
    result = _segmented(segment_image, image, item)
    _write(result, item, target, looks)
    return result


def _read(item: Input, reading: ImageReading) -> np.ndarray:
    return image_files.read_image(item.path, reading)


def _write(result: Segmentation, item: Input, target: Path, looks: LooksSettings) -> None:
    with _enough_memory(item):
        image_files.write_image(target, result.overlay(looks.opacity, looks.legend))
        _save_maps(result, target, looks)


def _enough_memory(item: Input) -> AbstractContextManager[None]:
    return memory_errors_as(
        InputError,
        f'{item.path}: not enough memory to read and colour it; make it smaller with another '
        'program, or leave more memory to this one',
    )


def _segmented(segment_image: SegmentImage, image: np.ndarray, item: Input) -> Segmentation:
    with _enough_memory(item):
        try:
            result = segment_image(image)
        except InputError as error:  # its message does not name the file
            raise InputError(f'{item.path}: {error}') from error
    result.drop_scores()  # several results wait to be written
    return result


class _EndOfVideo(UserError):
    """The video has no more frames."""


def _image_bytes(image: np.ndarray | None) -> int:
    return 0 if image is None else image.nbytes


def _segment_video(
    segment_image: SegmentImage,
    item: Input,
    target: Path,
    looks: LooksSettings,
    reading: ImageReading,
) -> None:
    source, count = video.VideoReader(item.path, reading.max_pixels), 0
    LOG.info('segmenting %s, %s frames', item.path, source.frames or 'an unknown number of')

    def read(number: int) -> np.ndarray | None:
        return next(frames, None)

    def compute(number: int, frame: np.ndarray | None) -> Segmentation:
        if frame is None:
            raise _EndOfVideo
        return _segmented(segment_image, frame, item)

    def write(number: int, result: Segmentation) -> None:
        nonlocal count
        append(result.overlay(looks.opacity, looks.legend))
        _save_maps(result, target.with_suffix('') / f'{number:08d}.png', looks)
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


def _save_maps(result: Segmentation, picture: Path, looks: LooksSettings) -> None:
    if looks.save_labels:
        image_files.write_image(map_path(picture, LABELS_ENDING), result.labels)
    if looks.save_color:
        color = map_path(picture, COLOR_ENDING)
        image_files.write_palette_png(color, result.labels, result.palette)
