"""Compute and write the optical flow of all frames of a source, in worker processes.

Files that are complete and not older than their frames are kept, so an interrupted run resumes. A
file ``.flow.json`` in the output folder says how its pictures were computed, and from which frames.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2

from common import files
from common.command import DONE, SOME_FAILED
from common.errors import UserError
from common.inputs import real
from common.process_map import map_samples
from common.reading import json_text
from common.terminal.name_list import first_names
from common.terminal.printable import one_line
from datasets import formats, png_chunks
from datasets.image_files import read_image, write_image
from datasets.info import DataError
from datasets.keys import ImageReading
from datasets.optical_flow import LONGEST
from datasets.preparation.flow import frames
from datasets.preparation.flow.compute import SMALLEST_SIDE, flow_picture
from datasets.preparation.flow.frames import FoundFrames, FramePair
from datasets.preparation.flow.settings import FlowSettings
from datasets.preparation.flow.video_frames import VideoOpener, write_frames
from datasets.preparation.settings import number_of_processes
from datasets.readers.cityscapes_tasks import FLOW_FOLDER
from datasets.samples import count_of

RECORD = '.flow.json'  # hidden, as the folder is one of a data set
CITYSCAPES_HEIGHT = 384
MAX_RECORD_BYTES = 1 << 16


@dataclass(frozen=True)
class _Outcome:
    """The result of one frame.

    Attributes:
        kept: Whether the file was up to date.
        cut: Whether some vectors were too long.
        problem: Why nothing was written; None if it was.
    """

    kept: bool = False
    cut: bool = False
    problem: str | None = None


def write_flow(settings: FlowSettings, open_video: VideoOpener) -> int:
    """Write the pictures of flow, print how many, and return the exit status.

    Args:
        settings: The options.
        open_video: Opens a video, if the source is one.

    Raises:
        UserError: The options, the frames or the output folder cannot be used.
    """
    processes = number_of_processes(settings.processes)
    if settings.source is None:  # a Python user's settings; the command line requires it
        raise UserError('SOURCE: name the folder of the frames, or a video')
    if settings.height is not None and settings.height < SMALLEST_SIDE:
        raise UserError(f'--height {settings.height}: must be at least {SMALLEST_SIDE}')
    source = files.expanded(settings.source, 'write the full path')
    found, folder, output, height = _find(settings, source, open_video)
    own: dict[str, object] = {
        'method': settings.method,
        'height': height,
        # A data set that is moved with its flow keeps this path.
        'frames': os.path.relpath(real(folder), real(output)),
    }
    _claim_folder(output, own)
    write = partial(_write_one, output, settings.method, height, settings.reading)
    outcomes = list(map_samples(found.pairs, write, processes, 'computing flow'))
    return _report(outcomes, found, output)


def _find(
    settings: FlowSettings, source: Path, open_video: VideoOpener
) -> tuple[FoundFrames, Path, Path, int | None]:
    """Return the frames, their folder, the output folder and the height of the pictures."""
    kind = files.kind_of(source)
    if kind is None:
        raise DataError(f'{source}: no such file or folder; name the frames, or a video')
    if kind == 'folder' and frames.is_cityscapes(source):
        output = settings.output or source / FLOW_FOLDER
        _refuse_inside(output, [source / frames.IMAGES, source / frames.SEQUENCES])
        height = settings.height or CITYSCAPES_HEIGHT
        return frames.of_cityscapes(source), source, output, height
    if settings.output is None:
        raise UserError('-o: name the folder to write the pictures of flow to')
    if kind == 'file':
        if settings.images is None:
            raise UserError(
                f'--images: name the folder for the frames of {source}, which the pictures of flow '
                'belong to'
            )
        _refuse_inside(settings.output, [settings.images])
        write_frames(source, settings.images, settings.max_pixels, open_video)
        source = settings.images
    _refuse_inside(settings.output, [source])
    return frames.of_folder(source), source, settings.output, settings.height


def _refuse_inside(output: Path, sources: Sequence[Path]) -> None:
    """Raise ``UserError`` if pictures of flow would become frames of the next run."""
    for source in sources:
        if real(output) == real(source) or real(source) in real(output).parents:
            raise UserError(f'-o {output}: is among the frames; name a folder beside {source}')


def _claim_folder(folder: Path, own: dict[str, object]) -> None:
    """Write how the pictures of a folder are computed.

    Raises:
        UserError: The folder has other files, or pictures that were computed in another way.
    """
    record = folder / RECORD
    if files.kind_of(record) == 'file':
        document = json_text.read(record, dict, MAX_RECORD_BYTES)
        if document != own:
            if isinstance(document.get('frames'), str):
                document['frames'] = os.path.normpath(real(folder) / document['frames'])
            document.setdefault('frames', 'unknown (by an older version)')
            listed = ', '.join(f'{key} {value}' for key, value in document.items())
            raise UserError(
                f'{one_line(folder)}: its pictures were computed with {one_line(listed)}; repeat '
                'the command with these, or name a new folder'
            )
        return
    kind = files.kind_of(folder)
    if kind == 'file' or kind == 'folder' and files.listing(folder):
        raise UserError(f'-o {folder}: contains other files; name a new folder')
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'-o {folder}: cannot be made ({error.strerror})') from error
    files.write_json(record, own)


def _write_one(
    output: Path,
    method: str,
    height: int | None,
    reading: ImageReading,
    pairs: Sequence[FramePair],
    index: int,
) -> _Outcome:
    """Write the flow of one frame."""
    pair = pairs[index]
    target = output / f'{pair.name}.png'
    try:
        if _is_complete(target, [pair.previous, pair.current]):
            return _Outcome(kept=True)
        current = read_image(pair.current, reading)
        previous = read_image(pair.previous, reading)
        if previous.shape != current.shape:
            raise UserError(
                f'{pair.current}: {current.shape[1]}x{current.shape[0]} pixels, but the frame '
                f'before, {pair.previous}, has {previous.shape[1]}x{previous.shape[0]}'
            )
        if height is not None and height != len(current):
            size = max(1, round(current.shape[1] * height / len(current))), height
            previous, current = (
                cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
                for frame in (previous, current)
            )
        picture, cut = flow_picture(previous, current, method)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_image(target, picture)
    except UserError as error:
        text = str(error)
        return _Outcome(problem=text if str(pair.current) in text else f'{pair.current}: {text}')
    except OSError as error:
        return _Outcome(problem=f'{target}: cannot be written ({error.strerror or error})')
    return _Outcome(cut=cut > 0)


def _is_complete(target: Path, frames_of_it: Sequence[Path]) -> bool:
    """Return whether a picture is there, undamaged and not older than its frames."""
    if not target.is_file():
        return False
    time = target.stat().st_mtime_ns
    if any(path.is_file() and path.stat().st_mtime_ns > time for path in frames_of_it):
        return False
    try:
        name, data = formats.read_file(target)
        if name != formats.PNG:
            return False
        png_chunks.check(data, target)
    except UserError:
        return False
    return True


def _report(outcomes: Sequence[_Outcome], found: FoundFrames, output: Path) -> int:
    problems = [outcome.problem for outcome in outcomes if outcome.problem is not None]
    for problem in problems:
        print(one_line(problem))
    kept, cut = (sum(getattr(outcome, key) for outcome in outcomes) for key in ('kept', 'cut'))
    written = len(outcomes) - kept - len(problems)
    print(
        f'{one_line(output)}: {count_of(written, "picture")} of flow written, {kept} up to date, '
        f'{len(problems)} failed'
    )
    if found.alone:
        print(
            f'{count_of(len(found.alone), "frame")} without a frame before: '
            f'{first_names([path.name for path in found.alone])}'
        )
    if cut:
        print(
            f'{count_of(cut, "picture")} with movements of more than {LONGEST} pixels, which are '
            'cut; a smaller --height avoids it'
        )
    return SOME_FAILED if problems else DONE
