"""Segment files: each input goes through the predictor and comes back as a picture, class indices,
colours.
"""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

import files
from command import DONE, LOG, SOME_FAILED, InputError, UserError
from datasets import Info, colours, image_files
from engine import video, visualisation
from engine.inputs import Input, find_inputs
from engine.predictor import WHOLE, Predictor
from engine.protocols import Protocol

DEFAULT_STEM, DEFAULT_FOLDER = 'result', 'results'


@dataclass(frozen=True)
class Options:
    """How results look, and how the network sees images. opacity: of the class colours."""

    opacity: float = 0.5
    legend: bool = False
    save_labels: bool = False
    save_color: bool = False
    protocol: Protocol = WHOLE


@dataclass(frozen=True)
class Plan:
    """What is to be done: inputs with the paths of their pictures, and the folder of several."""

    pairs: list[tuple[Input, Path]]
    folder: Path | None


def plan(patterns: Sequence[str], output: str | None) -> Plan:
    """The inputs and where their pictures go; raises ``UserError`` before any work is done.

    One file goes to ``output``, by default ``result.jpg`` or ``result.mp4``. Several, a folder or a
    pattern go to the folder ``output``, by default ``results``, under the names and in the
    subfolders that they have.
    """
    one_file = len(patterns) == 1 and Path(patterns[0]).expanduser().is_file()
    folder = None if one_file else Path(output or DEFAULT_FOLDER)
    inputs = find_inputs(patterns, leave_out=folder)
    if folder is None:
        target = Path(output or DEFAULT_STEM + _ending(inputs[0]))
        if target.is_dir() or (output or '').endswith('/'):
            target = target / (inputs[0].path.stem + _ending(inputs[0]))
        targets = [target]
    else:
        if folder.exists() and not folder.is_dir():
            raise UserError(f'-o {folder}: is a file; several results need a folder')
        targets = [folder / name for name in _result_names(inputs)]
    _check(inputs, targets)
    return Plan(list(zip(inputs, targets)), folder)


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


def _check(inputs: Sequence[Input], targets: Sequence[Path]):
    """Raise ``UserError`` for results that would overwrite something or cannot be written."""
    sources, counts = {item.path.resolve() for item in inputs}, Counter(targets)
    for item, target in zip(inputs, targets):
        if target.resolve() in sources:
            raise UserError(f'{target}: is an input and would be overwritten; change it with -o')
        if counts[target] > 1:
            raise UserError(
                f'{target}: {counts[target]} inputs would be written to it; rename some'
            )
        (video if item.is_video else image_files).check_format(target)
    files.check_writable(targets[0])


def segment(predictor: Predictor, info: Info, plan: Plan, options: Options) -> int:
    """Segment all inputs of a plan and report; returns the exit status.

    An input that cannot be used is an error when it is the only file named; else it is reported and
    counted.
    """
    started = time.monotonic()
    if plan.folder is None:
        (item, target), *_ = plan.pairs
        labels = segment_file(predictor, info, item, target, options)
        print(f'{target} written in {time.monotonic() - started:.1f} s')
        if labels is not None:
            for name, share in visualisation.shares(labels, info):
                print(f'{share:7.1%}  {name}')
        return DONE
    failed = 0
    with tqdm(plan.pairs, unit='file', disable=None) as bar:  # None: on a terminal only
        for item, target in bar:
            try:
                segment_file(predictor, info, item, target, options)
            except InputError as error:
                failed += 1
                bar.write(f'error: {error}', file=sys.stderr)
    elapsed, done = time.monotonic() - started, len(plan.pairs) - failed
    print(
        f'{done} of {len(plan.pairs)} files written to {plan.folder} in {elapsed:.1f} s '
        f'({done / elapsed:.2f} a second)' + (f', {failed} could not be used' if failed else '')
    )
    return SOME_FAILED if failed else DONE


def segment_file(
    predictor: Predictor, info: Info, item: Input, target: Path, options: Options
) -> np.ndarray | None:
    """Segment one image or video; returns the class map of an image."""
    if item.is_video:
        return _segment_video(predictor, info, item, target, options)
    image = image_files.read_image(item.path)
    labels = predictor.labels(image, options.protocol)
    image_files.write_image(target, _picture(image, labels, info, options))
    _save_maps(labels, info, target.with_suffix(''), options)
    return labels


def _segment_video(predictor, info, item, target, options):
    source, count = video.Video(item.path), 0
    with video.writing(target, source.rate) as append:
        frames = tqdm(
            source, item.path.name, source.frames or None, leave=False, unit='frame', disable=None
        )
        for count, frame in enumerate(frames, 1):
            labels = predictor.labels(frame, options.protocol)
            append(_picture(frame, labels, info, options))
            _save_maps(labels, info, target.with_suffix('') / f'{count:08d}', options)
    if count < source.frames:
        LOG.warning(
            '%s: its header promises %d frames, %d can be read', item.path, source.frames, count
        )


def _picture(image, labels, info, options):
    picture = colours.overlay(image, labels, info.palette, options.opacity)
    return (
        visualisation.beside(picture, visualisation.legend(len(picture), info))
        if options.legend
        else picture
    )


def _save_maps(labels, info, stem, options):
    def beside(suffix):
        return stem.with_name(stem.name + suffix)

    if options.save_labels:
        image_files.write_image(beside('_labels.png'), labels)
    if options.save_color:
        image_files.write_palette_png(beside('_color.png'), labels, info.palette)


def _ending(item: Input) -> str:
    return '.mp4' if item.is_video else '.jpg'
