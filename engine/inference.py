"""Segment files: each input goes through the predictor and comes back as a picture, class indices,
colours.
"""

import errno
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from command import DONE, LOG, SOME_FAILED, InputError, UserError
from datasets import Info, colours, image_files
from engine import video, visualisation
from engine.inputs import Input, find_inputs, real
from engine.overlap import overlapped
from engine.predictor import WHOLE, Predictor
from engine.protocols import Protocol
from files import kind_of

DEFAULT_STEM, DEFAULT_FOLDER = 'result', 'results'
LABELS, COLOR = '_labels.png', '_color.png'  # what follows the picture's name
ROWS = 64  # of an image that are coloured at a time
# Errors of one file: its name is too long, or what it needs is taken.
ONE_FILE = (errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EEXIST)


@dataclass(frozen=True)
class Options:
    """How results look, and how the network sees images. opacity: of the class colours. progress:
    show, on terminals, how far a video is.
    """

    opacity: float = 0.5
    legend: bool = False
    save_labels: bool = False
    save_color: bool = False
    protocol: Protocol = WHOLE
    progress: bool = True

    @property
    def maps(self) -> list[str]:
        """The endings of the class maps that are written beside a picture."""
        return [LABELS] * self.save_labels + [COLOR] * self.save_color


Pair = tuple[Input, Path]


@dataclass(frozen=True)
class Outcome:
    """What became of a file. error: None when it is done. fatal: other files would fare no better,
    as when the disk is full.
    """

    error: UserError | None = None
    fatal: bool = False


@dataclass(frozen=True)
class Plan:
    """What is to be done: inputs with the paths of their pictures, the folder of several, and a
    line for each thing in the inputs' folders that cannot be looked at.
    """

    pairs: list[Pair]
    folder: Path | None
    problems: list[str]


def plan(patterns: Sequence[str], output: str | None, options: Options = Options()) -> Plan:
    """The inputs and where their pictures go; raises ``UserError`` before any work is done, and
    creates nothing.

    One file goes to ``output``, by default ``result.jpg`` or ``result.mp4``. Several, a folder or a
    pattern go to the folder ``output``, by default ``results``, under the names and in the
    subfolders that they have.
    """
    first = patterns[0] if len(patterns) == 1 else ''
    one_file = first.strip() and kind_of(Path(os.path.expanduser(first))) == 'file'
    folder, problems = None if one_file else Path(output or DEFAULT_FOLDER), []
    inputs = find_inputs(patterns, folder, problems.append)
    if folder is None:
        target = Path(output or DEFAULT_STEM + _ending(inputs[0]))
        if _kind_of_output(target) == 'folder' or (output or '').endswith('/'):
            target = target / (inputs[0].path.stem + _ending(inputs[0]))
        targets = [target]
    else:
        if _kind_of_output(folder) == 'file':
            raise UserError(f'-o {folder}: is a file; several results need a folder')
        targets = [folder / name for name in _result_names(inputs)]
    for item, target in zip(inputs, targets):
        (video if item.is_video else image_files).check_format(target)
    _check_overwriting(inputs, targets, options)
    _check_writable(targets[0] if folder is None else folder / 'x')
    return Plan(list(zip(inputs, targets)), folder, problems)


def _result_names(inputs: Sequence[Input]) -> list[Path]:
    """``a.jpg`` for ``a.png``, or ``a.png.jpg`` when there is more than one file ``a``."""
    stems = Counter(item.relative.with_suffix('') for item in inputs)
    return [
        item.relative.with_name(
            (
                item.relative.stem
                if stems[item.relative.with_suffix('')] == 1
                else item.relative.name
            )
            + _ending(item)
        )
        for item in inputs
    ]


def _check_overwriting(inputs: Sequence[Input], targets: Sequence[Path], options: Options):
    """Raise ``UserError`` when a picture, a class map or a folder of them would take the place of
    an input, or of another of them.
    """
    sources, planned = {real(item.path) for item in inputs}, []
    for item, target in zip(inputs, targets):
        planned.append(target)
        if item.is_video:
            planned += [target.with_suffix('')] * bool(options.maps)
        else:
            planned += [_beside(target, ending) for ending in options.maps]
    counts = Counter(map(real, planned))
    for path in planned:
        if real(path) in sources:
            raise UserError(f'{path}: is an input and would be overwritten; change it with -o')
        if counts[real(path)] > 1:
            raise UserError(
                f'{path}: {counts[real(path)]} inputs would be written to it; rename some'
            )
    folders = {
        real(target.with_suffix(''))
        for item, target in zip(inputs, targets)
        if item.is_video and options.maps
    }
    for folder in folders:
        if _kind_of_output(folder) == 'file':
            raise UserError(f'{folder}: is a file; the class maps of a video need this folder')
    names = re.compile(rf'[0-9]{{8,}}({"|".join(map(re.escape, options.maps))})')
    for path in [*sources, *counts]:
        if path.parent in folders and names.fullmatch(path.name):
            raise UserError(f'{path}: would be overwritten by the class maps of a video')


def _check_writable(target: Path):
    """Raise ``UserError`` when ``target`` cannot be written, from a trial that leaves no folder."""
    place = target.parent
    while (kind := _kind_of_output(place)) is None and place != place.parent:
        place = place.parent
    if kind != 'folder':
        raise UserError(f'{target}: cannot be written ({place} is no folder)')
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise UserError(f'{target}: cannot be written ({error.strerror})') from error


def _kind_of_output(path: Path) -> str | None:
    try:
        return kind_of(path)
    except UserError as error:
        reason = getattr(error.__cause__, 'strerror', None) or error.__cause__
        raise UserError(f'-o {path}: cannot be written ({reason})') from error


def segment(
    predictor: Predictor,
    info: Info,
    plan: Plan,
    options: Options,
    outcomes: Callable[[Sequence[Pair]], Iterator[Outcome]] | None = None,
) -> int:
    """Segment all inputs of a plan and report; returns the exit status.

    outcomes: does several files, by default :func:`all_outcomes` in this process.

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
            for name, share in visualisation.shares(labels, info):
                print(f'{share:7.1%}  {name}')
        return status
    failed = len(plan.problems)
    for problem in plan.problems:
        print(f'error: {problem}', file=sys.stderr)
    if outcomes is None:
        outcomes = partial(all_outcomes, predictor, info, options)
    total = len(plan.pairs)
    with (
        tqdm(total=total, unit='file', disable=None) as bar,  # None: on a terminal only
        closing(outcomes(plan.pairs)) as results,
    ):
        for outcome in results:
            if outcome.fatal:
                raise outcome.error
            if outcome.error is not None:
                failed += 1
                bar.write(f'error: {outcome.error}', file=sys.stderr)
            bar.update()
    elapsed, total = time.monotonic() - started, total + len(plan.problems)
    done = total - failed
    print(
        f'{done} of {total} files written to {plan.folder} in {elapsed:.1f} s '
        f'({done / elapsed:.2f} a second)' + (f', {failed} could not be used' if failed else '')
    )
    return SOME_FAILED if failed else DONE


def all_outcomes(
    predictor: Predictor, info: Info, options: Options, pairs: Sequence[Pair]
) -> Iterator[Outcome]:
    """Segment files one after the other, while the next image is read and the last one written."""

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
    with image_files.silent_opencv():
        errors = overlapped(pairs, read, compute, write, lambda image: getattr(image, 'nbytes', 0))
        with closing(errors):
            yield from map(_outcome, errors)


def outcome(
    predictor: Predictor, info: Info, item: Input, target: Path, options: Options
) -> Outcome:
    """What becomes of one of several files."""
    try:
        segment_file(predictor, info, item, target, options)
    except UserError as error:
        return _outcome(error)
    return Outcome()


def _outcome(error: UserError | None) -> Outcome:
    if error is None or isinstance(error, InputError):
        return Outcome(error)
    return Outcome(error, fatal=getattr(error.__cause__, 'errno', None) not in ONE_FILE)


def segment_file(
    predictor: Predictor, info: Info, item: Input, target: Path, options: Options
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


@contextmanager
def _enough_memory(item: Input) -> Iterator[None]:
    try:
        yield
    except (MemoryError, cv2.error) as error:
        if isinstance(error, cv2.error) and error.code != cv2.Error.StsNoMem:
            raise
        raise InputError(
            f'{item.path}: not enough memory to read and to colour it; make it smaller with '
            'another program, or leave more memory to this one'
        ) from error


def _labels(predictor, image, item, options):
    with _enough_memory(item):
        try:
            return predictor.labels(image, options.protocol)
        except InputError as error:  # which does not know the file
            raise InputError(f'{item.path}: {error}') from error


def _segment_video(predictor, info, item, target, options):
    source, count = video.Video(item.path), 0
    with video.writing(target, source.rate) as append:
        hidden = None if options.progress else True  # None: on a terminal only
        frames = tqdm(
            source, item.path.name, source.frames or None, leave=False, unit='frame', disable=hidden
        )
        for count, frame in enumerate(frames, 1):
            labels = _labels(predictor, frame, item, options)
            append(_picture(frame, labels, info, options))
            _save_maps(labels, info, target.with_suffix('') / f'{count:08d}.png', options)
    source.check_complete(count)


def _picture(image, labels, info, options):
    picture = np.empty_like(image)
    for top in range(0, len(image), ROWS):  # because blending takes 16 times the image's memory
        rows = slice(top, top + ROWS)
        picture[rows] = colours.overlay(image[rows], labels[rows], info.palette, options.opacity)
    return (
        visualisation.beside(picture, visualisation.legend(len(picture), info))
        if options.legend
        else picture
    )


def _save_maps(labels, info, picture, options):
    if options.save_labels:
        image_files.write_image(_beside(picture, LABELS), labels)
    if options.save_color:
        image_files.write_palette_png(_beside(picture, COLOR), labels, info.palette)


def _beside(picture: Path, ending: str) -> Path:
    return picture.with_name(picture.stem + ending)


def _ending(item: Input) -> str:
    return '.mp4' if item.is_video else '.jpg'
