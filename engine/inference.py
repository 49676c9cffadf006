"""Segment files: each input goes through the predictor and comes back as a picture, class indices,
colours.
"""

import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from datasets import Info
from engine import images, visualisation
from engine.command import DONE, LOG, SOME_FAILED, UserError
from engine.images import Input, UnreadableError
from engine.predictor import Predictor
from engine.video import CODECS, Video, writing

DEFAULT_STEM, DEFAULT_FOLDER = 'result', 'results'


@dataclass(frozen=True)
class Options:
    """How results look. opacity: of the class colours; scale: by what an image is resized for the
    network.
    """

    opacity: float = 0.5
    legend: bool = False
    save_labels: bool = False
    save_color: bool = False
    scale: float = 1.0


def plan(patterns: Sequence[str], output: str | None) -> list[tuple[Input, Path]]:
    """The inputs, each with the path of its picture; raises ``UserError`` before any work is done.

    One file goes to ``output``, by default ``result.jpg`` or ``result.mp4``. Several, a folder or a
    pattern go to the folder ``output``, by default ``results``, under the names and in the
    subfolders that they have.
    """
    one_file = len(patterns) == 1 and Path(patterns[0]).expanduser().is_file()
    inputs = images.find_inputs(patterns, None if one_file else Path(output or DEFAULT_FOLDER))
    if one_file:
        target = Path(output or DEFAULT_STEM + _ending(inputs[0]))
        if target.is_dir() or (output or '').endswith('/'):
            target = target / (inputs[0].path.stem + _ending(inputs[0]))
        pairs = [(inputs[0], target)]
    else:
        folder = Path(output or DEFAULT_FOLDER)
        if folder.exists() and not folder.is_dir():
            raise UserError(f'-o {folder}: is a file; several results need a folder')
        stems = [item.relative.with_suffix('') for item in inputs]
        pairs = [
            (
                item,
                folder
                / item.relative.with_name(
                    (item.relative.name if stems.count(stem) > 1 else stem.name) + _ending(item)
                ),
            )
            for item, stem in zip(inputs, stems)
        ]
    sources = {item.path.resolve() for item in inputs}
    for item, target in pairs:
        if target.resolve() in sources:
            raise UserError(
                f'{target}: is an input and would be overwritten; name another output with -o'
            )
        if item.is_video and target.suffix.lower() not in CODECS:
            raise UserError(f'{target}: videos are written as {", ".join(CODECS)}')
    images.check_writable(pairs[0][1])
    return pairs


def segment(
    predictor: Predictor, info: Info, pairs: Sequence[tuple[Input, Path]], options: Options
) -> int:
    """Segment all inputs of :func:`plan` and report; returns the exit status.

    One input that cannot be read is an error when it is the only one; among several it is reported
    and counted.
    """
    if len(pairs) == 1:
        started = time.monotonic()
        labels = segment_file(predictor, info, *pairs[0], options)
        print(f'{pairs[0][1]} written in {time.monotonic() - started:.1f} s')
        if labels is not None:
            for name, share in visualisation.shares(labels, info):
                print(f'{share:7.1%}  {name}')
        return DONE
    failed = 0
    with tqdm(pairs, unit='file', disable=not LOG.isEnabledFor(logging.INFO)) as bar:
        for item, target in bar:
            try:
                segment_file(predictor, info, item, target, options)
            except UnreadableError as error:
                failed += 1
                bar.write(f'error: {error}', file=sys.stderr)
        elapsed = bar.format_dict['elapsed']
    done = len(pairs) - failed
    print(
        f'{done} of {len(pairs)} files written to {_common_folder(pairs)} in {elapsed:.1f} s '
        f'({done / max(elapsed, 1e-9):.2f} a second)'
        + (f', {failed} could not be read' if failed else '')
    )
    return SOME_FAILED if failed else DONE


def segment_file(
    predictor: Predictor, info: Info, item: Input, target: Path, options: Options
) -> np.ndarray | None:
    """Segment one image or video; returns the class map of an image."""
    if item.is_video:
        return _segment_video(predictor, info, item, target, options)
    image = images.read_image(item.path)
    labels = predictor.labels(image, options.scale)
    images.write_image(target, _picture(image, labels, info, options))
    _save_maps(labels, info, target.with_suffix(''), options)
    return labels


def _segment_video(predictor, info, item, target, options):
    video = Video(item.path)
    with (
        writing(target, video.rate) as append,
        tqdm(desc=item.path.name, total=video.frames or None, unit='frame', leave=False) as bar,
    ):
        for frame in video:
            labels = predictor.labels(frame, options.scale)
            append(_picture(frame, labels, info, options))
            _save_maps(labels, info, target.with_suffix('') / f'{bar.n:08d}', options)
            bar.update()
    if bar.n < video.frames:
        LOG.warning(
            '%s: the header promises %d frames, %d could be read', item.path, video.frames, bar.n
        )


def _picture(image, labels, info, options):
    picture = visualisation.overlay(image, labels, info.palette, options.opacity)
    return (
        visualisation.beside(picture, visualisation.legend(len(picture), info))
        if options.legend
        else picture
    )


def _save_maps(labels, info, stem, options):
    if options.save_labels:
        images.write_image(stem.with_name(stem.name + '_labels.png'), labels)
    if options.save_color:
        images.write_palette_png(stem.with_name(stem.name + '_color.png'), labels, info.palette)


def _ending(item: Input) -> str:
    return '.mp4' if item.is_video else '.jpg'


def _common_folder(pairs) -> Path:
    (item, target), *_ = pairs
    return target.parents[len(item.relative.parts) - 1]
