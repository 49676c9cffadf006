"""Draw the curves of several runs in one picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common import figures
from common.terminal.printable import one_line
from common.terminal.short_repr import short_text
from engine.report import curves
from engine.report.curves import Rows
from engine.report.groups import RunGroup
from engine.report.records import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = (
    '#1f5fa8', '#d1661b', '#1d7f4f', '#b3263a', '#7a4fa0', '#7a5540', '#c94f9b', '#5f6b73',
    '#8f8a12', '#118a9c',
)  # fmt: skip
STYLES = ('-', '--', ':', '-.')  # of the first, second, ... ten groups
MAX_NAME_CHARACTERS = 60  # in the legend
SEED_ALPHA, SEED_WIDTH, MEAN_WIDTH = 0.4, 0.8, 1.8  # of the lines of a group and of their mean


def draw(path: Path, title: str, groups: Sequence[RunGroup]) -> None:
    """Draw loss, learning rate and validation mIoU of several runs over iterations.

    Each group has a colour. The runs of a group are thin lines, their mean is a thick one.

    Args:
        path: File to write; its ending selects the format.
        title: Title of the picture.
        groups: The runs, those that differ in the seed alone together.

    Raises:
        UserError: The format is unknown, or the file cannot be written.
    """
    figure = figures.new(curves.WIDTH_INCHES, curves.HEIGHT_INCHES + 0.25 * len(groups))
    figure.suptitle(one_line(title), parse_math=False)
    loss, rate, score = figure.subplots(3, 1, sharex=True)
    records = [record for group in groups for record in group.records]
    many = any(len(record.losses) >= curves.MIN_SMOOTHED_VALUES for record in records)
    name = 'training loss' + (' (running mean)' if many else '')
    _draw(loss, groups, lambda record: record.losses, name, smooth=True)
    _draw(rate, groups, lambda record: record.rates, 'learning rate')
    measure = ' or '.join(sorted({record.measure for record in records}))
    _draw(score, groups, lambda record: record.scores, f'validation {measure} in %', marker='o')
    for axes in (loss, rate):
        curves.choose_scale(axes)
    curves.set_iterations(score, max(1, *(record.iteration for record in records)))
    handles = [
        loss.plot([], [], color=colour, linestyle=style, linewidth=MEAN_WIDTH)[0]
        for colour, style in map(_look, range(len(groups)))
    ]
    legend = figure.legend(
        handles, list(map(_label, groups)), loc='outside lower center', frameon=False
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # the name of a folder is no formula
    figures.write(path, figure)


def _label(group: RunGroup) -> str:
    name = one_line(short_text(group.name, MAX_NAME_CHARACTERS))
    count = len(group.runs)
    if count > 1:
        return f'{name} (mean, n = {count})'
    return name if group.records[0].iteration else f'{name} (no results yet)'


def _look(number: int) -> tuple[str, str]:
    """Return colour and line style of a group."""
    return COLOURS[number % len(COLOURS)], STYLES[number // len(COLOURS) % len(STYLES)]


def _draw(
    axes: Axes,
    groups: Sequence[RunGroup],
    rows: Callable[[RunRecord], Rows],
    name: str,
    smooth: bool = False,
    marker: str | None = None,
) -> None:
    curves.prepare(axes, name)
    for number, group in enumerate(groups):
        colour, style = _look(number)
        look: dict[str, Any] = {
            'color': colour,
            'linestyle': style,
            'marker': marker,
            'markersize': 3,
        }
        lines = [curves.as_columns(rows(record)) for record in group.records]
        if smooth:
            lines = [curves.smoothed(line) for line in lines]
        lines = [line for line in lines if line.size]
        mean = mean_curve(lines)
        for line in lines:
            own = dict(look)
            if mean.size:
                own |= {'alpha': SEED_ALPHA, 'linewidth': SEED_WIDTH}
            if line.shape[1] == 1:
                own['marker'] = 'o'  # a line of one point would be invisible
            axes.plot(*line, **own)
        if mean.size:
            axes.plot(*mean, **look, linewidth=MEAN_WIDTH)
    if not axes.lines:
        curves.say_none(axes)


def mean_curve(lines: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean of several curves at the iterations that all of them have.

    Args:
        lines: Curves, each (2, N): iterations and values.

    Returns:
        (2, M); M is 0 for a single curve.
    """
    if len(lines) < 2:
        return np.empty((2, 0))
    values = [dict(zip(*line.tolist())) for line in lines]
    common = sorted(set(values[0]).intersection(*values[1:]))
    means = [np.mean([each[iteration] for each in values]) for iteration in common]
    return np.array((common, means))
