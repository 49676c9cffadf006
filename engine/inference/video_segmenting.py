"""Segment videos and streams frame by frame, and write videos and maps."""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.inputs import Input
from common.log import LOG
from common.terminal.progress import ProgressBar
from engine.inference import http_video, live, video
from engine.inference.depth_map import Result
from engine.inference.maps import save_maps
from engine.inference.planning import picture_path
from engine.inference.prefetch import MAX_WAITING_ITEMS, run_pipeline
from engine.inference.sources import Stream
from engine.inference.steps import Shown, Steps, bytes_of, results_by_task
from engine.inference.stream_frames import StreamFrames
from engine.inference.stream_reader import StreamReader

Reader = video.VideoReader | StreamFrames


def segment_video(steps: Steps, item: Input, target: Path) -> None:
    """Segment the frames of a video or stream and write them to a video.

    Args:
        steps: How frames are segmented and written.
        item: The video file, camera or stream.
        target: Path of the video.

    Raises:
        InputError: The fault lies in this input alone.
        video.IncompleteVideo: The input ended early; the frames before were written.
        UserError: The fault concerns other inputs too.
    """
    if isinstance(item, Stream):
        with live.ended_by_signal() as is_ended, _opened(item, steps, is_ended) as source:
            LOG.info('segmenting %s until it ends, or Ctrl-C', item.name)
            count = _segment_frames(steps, item, target, source, is_ended)
            if isinstance(source, StreamFrames):
                LOG.info('%d frames were segmented, %d dropped', count, source.dropped)
        return
    source = video.VideoReader(item.path, steps.reading.max_pixels)
    LOG.info('segmenting %s, %s frames', item.name, source.frames or 'an unknown number of')
    _segment_frames(steps, item, target, source)


def _opened(
    stream: Stream, steps: Steps, is_ended: Callable[[], bool]
) -> AbstractContextManager[Reader]:
    """Open a camera or a stream in the way that its address requires."""
    if stream.is_http:
        return http_video.opened(stream, steps.reading, is_ended)
    return closing(StreamReader(stream, steps.reading.max_pixels, is_ended))


def _segment_frames(
    steps: Steps,
    item: Input,
    target: Path,
    source: Reader,
    is_ended: Callable[[], bool] = lambda: False,
) -> int:
    """Segment frames until the source ends; return their number."""
    total = min(filter(None, (source.frames, steps.most_frames)), default=None)
    # disable=None: the bar is shown on terminals only.
    bar = ProgressBar(
        itertools.takewhile(lambda _: not is_ended(), itertools.islice(source, steps.most_frames)),
        Path(item.name).name,
        total,
        leave=False,
        unit='frame',
        disable=None,
    )
    frames, rate = iter(bar), source.rate
    if source.is_live:
        frames, rate = _with_rate(steps, item, frames, rate)
    with video.video_writer(target, rate) as append:
        paced = live.PacedVideo(append, rate) if source.is_live else append
        most_ahead = 0 if source.is_live else MAX_WAITING_ITEMS
        count = _run(steps, item, target, frames, paced, most_ahead)
    if count != steps.most_frames and not is_ended():
        source.check_complete(count)
    return count


def _with_rate(
    steps: Steps, item: Input, frames: Iterator[np.ndarray], stated: float
) -> tuple[Iterator[np.ndarray], float]:
    """Return the frames of a live stream, and the rate at which they can be segmented.

    The first frame is segmented twice, because the network is compiled for its size before. Its
    optical flow counts, too, as frames of a live stream are read and computed in turn.
    """
    first = next(frames, None)
    if first is None:
        raise KeyboardInterrupt  # another stream without a frame has raised InputError
    twice = steps.frames(iter([first, first]))
    steps.segment(next(twice), item)
    started = time.monotonic()
    steps.segment(next(twice), item)
    return itertools.chain([first], frames), live.rate_for(stated, time.monotonic() - started)


class _EndOfVideo(UserError):
    """The video has no more frames."""


def _run(
    steps: Steps,
    item: Input,
    target: Path,
    frames: Iterator[np.ndarray],
    append: Callable[[np.ndarray], None],
    most_ahead: int,
) -> int:
    """Segment frames in a pipeline, append their pictures, and write their maps."""
    count, shown = 0, steps.frames(frames)

    def read(number: int) -> Shown | None:
        return next(shown, None)

    def compute(number: int, frame: Shown | None) -> Result:
        if frame is None:
            raise _EndOfVideo
        return steps.segment(frame, item)

    def write(number: int, result: Result) -> None:
        nonlocal count
        append(steps.frame(result))
        for task, each in results_by_task(result).items():
            path = picture_path(target.with_suffix('') / f'{number:08d}.png', task)
            save_maps(each, path, steps.looks)
        count = number

    with closing(
        run_pipeline(itertools.count(1), read, compute, write, bytes_of, most_ahead)
    ) as errors:
        error = next(filter(None, errors))
    if not isinstance(error, _EndOfVideo):
        raise error
    return count
