"""Segment images, videos and streams, and write pictures and maps of the results."""

import errno
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path

import models
from common.command import DONE, SOME_FAILED
from common.errors import InputError, UserError
from common.inputs import Input
from common.log import LOG
from common.terminal.printable import one_line
from common.terminal.progress import ProgressBar
from datasets.keys import DEFAULT_READING, ImageReading
from engine.config.config import Config
from engine.inference import file_network, planning, test_time, video
from engine.inference.depth_map import DepthMap, Result
from engine.inference.first_pictures import FIRST_INPUT, FirstPictures, expanded
from engine.inference.input_files import network_files
from engine.inference.planning import OutputPlan, Pair
from engine.inference.prefetch import run_pipeline
from engine.inference.scene import flow_of
from engine.inference.segmenter import Segmenter
from engine.inference.settings import LooksSettings, SegmentSettings
from engine.inference.steps import (
    SegmentImage,
    Shown,
    Steps,
    bytes_of,
    main_task,
    results_by_task,
)
from engine.inference.test_time import ProtocolKeys
from engine.inference.video_segmenting import segment_video

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


def segment(settings: SegmentSettings) -> int:
    """Segment the files of the settings and print a summary.

    Returns:
        The exit status.

    Raises:
        UserError: The settings cannot be met, or the only file cannot be used.
    """
    chosen = settings.config
    config = file_network.load_config(chosen.config_file, chosen.overrides, settings.weights)
    protocol = test_time.choose_protocol(settings.protocol, ProtocolKeys.of(config))
    protected = network_files(config, settings.weights, settings.backend.calibration)
    described = models.describe(config)
    first_pictures = _first_pictures(settings, config, described.inputs)
    if first_pictures is not None:
        protected.add('the first picture of a scene', first_pictures.files())
    plan = planning.plan_outputs(
        settings.inputs, settings.output, settings.looks, protected, described.tasks
    )
    if first_pictures is not None:
        first_pictures.check([item for item, _ in plan.pairs])
    segmenter = Segmenter.of_settings(
        config, settings.weights, settings.device, settings.backend, protocol
    )
    return segment_plan(
        segmenter, plan, settings.looks, segmenter.reading, settings.frames, first_pictures
    )


def _first_pictures(settings: SegmentSettings, config: Config, inputs: int) -> FirstPictures | None:
    """Return the first pictures of scenes; None for a network with one input."""
    if inputs == 1:
        if settings.first_input is not None:
            raise UserError(f'{FIRST_INPUT}: the network takes one picture; leave it out')
        return None
    return FirstPictures(
        expanded(settings.first_input), flow_of(config, inputs)[0], ImageReading.of(config)
    )


def segment_plan(
    segment_image: SegmentImage,
    plan: OutputPlan,
    looks: LooksSettings,
    reading: ImageReading = DEFAULT_READING,
    most_frames: int | None = None,
    first_pictures: FirstPictures | None = None,
) -> int:
    """Segment all inputs of a plan and print a summary.

    Among several inputs, an unusable one is reported and counted, and the others are processed.

    Args:
        segment_image: Segments an image.
        plan: Inputs and the paths of their results.
        looks: Settings of the results.
        reading: Settings of the conversion of image files, and the limit of pixels.
        most_frames: Number of frames after which a video or stream ends; None for all.
        first_pictures: The first pictures of scenes, for a network with two inputs.

    Returns:
        The exit status.

    Raises:
        UserError: The only file cannot be used, or an error concerns all files, such as a full
            disk.
    """
    started = time.monotonic()
    steps = Steps(segment_image, looks, reading, most_frames, first_pictures)
    if plan.folder is None:
        (item, target), *_ = plan.pairs
        result, status = None, DONE
        try:
            result = _segment_file(steps, item, target)
        except video.IncompleteVideo as error:
            LOG.warning('%s', error)
            status = SOME_FAILED
        print(f'{one_line(target)} written in {time.monotonic() - started:.1f} s')
        if result is not None:
            _print_results(result)
        return status
    failed = len(plan.problems)
    for problem in plan.problems:
        print(f'error: {problem}', file=sys.stderr)
    total = len(plan.pairs)
    LOG.info('segmenting %d files', total)
    with (
        ProgressBar(total=total, unit='file', disable=None) as bar,  # None: shown on terminals only
        closing(_segment_files(steps, plan.pairs)) as errors,
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


def _print_results(result: Result) -> None:
    """Print the shares of the classes of one task, or those and the depths of several."""
    results = results_by_task(result)
    for name, each in results.items():
        if len(results) > 1:
            print(f'{name or main_task(result)}:')
        if isinstance(each, DepthMap):
            middle, low, high = each.range
            print(f'{middle:7.1f} m, the median; {low:.1f} to {high:.1f} m hold 90 % of the pixels')
            continue
        for class_name, share in each.shares.items():
            print(f'{share:7.1%}  {one_line(class_name)}')


def _segment_files(steps: Steps, pairs: Sequence[Pair]) -> Generator[UserError | None, None, None]:
    """Segment files in a pipeline that reads the next images and writes the previous ones.

    Yields:
        The error of each file, in order; None for a file that succeeded.
    """

    def read(pair: Pair) -> Shown | None:
        return None if pair[0].is_video else steps.read(pair[0])

    def compute(pair: Pair, image: Shown | None) -> Result | None:
        if image is None:
            _segment_file(steps, *pair)
            return None
        return steps.segment(image, pair[0])

    def write(pair: Pair, result: Result | None) -> None:
        if result is not None:
            steps.write(result, *pair)

    with closing(run_pipeline(pairs, read, compute, write, bytes_of)) as errors:
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
    most_frames: int | None = None,
) -> Result | None:
    """Segment one image, video or stream.

    Args:
        segment_image: Segments an image.
        item: The input.
        target: Path of the picture or of the video.
        looks: Settings of the result.
        reading: Settings of the conversion of image files, and the limit of pixels.
        most_frames: Number of frames after which a video or stream ends; None for all.

    Returns:
        The result of an image; None for a video.

    Raises:
        InputError: The fault lies in this input alone.
        video.IncompleteVideo: The video is truncated; its readable frames were written.
        UserError: The fault concerns other inputs too.
    """
    return _segment_file(Steps(segment_image, looks, reading, most_frames), item, target)


def _segment_file(steps: Steps, item: Input, target: Path) -> Result | None:
    if item.is_video:
        with steps.enough_memory(item):
            segment_video(steps, item, target)
        return None
    image = steps.read(item)
    height, width = (image[-1] if isinstance(image, tuple) else image).shape[:2]
    if height * width >= LARGE_IMAGE_PIXELS:
        LOG.info('segmenting %s, %dx%d pixels', item.name, width, height)
    result = steps.segment(image, item)
    steps.write(result, item, target)
    return result
