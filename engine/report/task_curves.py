"""Draw the curves of a training run of several tasks: a line for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import figures
from common.terminal.printable import one_line
from engine.report import curves
from engine.report.compared_curves import COLOURS
from engine.report.curves import Rows
from engine.report.records import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT_INCHES = 11.5  # of four parts


def draw(path: Path, title: str, record: RunRecord) -> None:
    """Draw losses, learning rate, scores of the tasks and the score of all over iterations.

    Args:
        path: File to write; its ending selects the format.
        title: Title of the picture.
        record: The run, with tasks.

    Raises:
        UserError: The format is unknown, or the file cannot be written.
    """
    figures.check_format(path)
    figure = figures.new(curves.WIDTH_INCHES, HEIGHT_INCHES)
    figure.suptitle(one_line(title), parse_math=False)  # the name of a folder is no formula
    loss, rate, tasks, score = figure.subplots(4, 1, sharex=True)
    own = [(task.name, task.losses) for task in record.tasks]
    _draw_lines(loss, 'training loss', [('total', record.losses), *own], smooth=True)
    curves.draw_line(rate, curves.as_columns(record.rates), 'learning rate', curves.COLOURS['rate'])
    scores = [(f'{task.name} {task.measure}', task.scores) for task in record.tasks]
    _draw_lines(tasks, 'mIoU or ARD in %', [('', ()), *scores], marker='o')
    rows = curves.as_columns(record.scores)
    curves.draw_line(score, rows, 'validation score in %', curves.COLOURS['score'], marker='o')
    for axes in (loss, rate):
        curves.choose_scale(axes)
    last = max([1, *(row[0] for row in (*record.losses, *record.scores))])
    curves.set_iterations(score, last)
    curves.mark_best(score, rows)
    figures.write(path, figure)


def _draw_lines(
    axes: Axes, name: str, lines: Sequence[tuple[str, Rows]], smooth: bool = False, **look: Any
) -> None:
    """Draw lines with a legend; the tasks have the same colours in all parts of the picture."""
    curves.prepare(axes, name)
    for number, (label, rows) in enumerate(lines):
        columns = curves.as_columns(rows)
        if not columns.size:
            continue
        shown = curves.smoothed(columns) if smooth else columns
        single = {'marker': 'o'} if shown.shape[1] == 1 else {}  # else it would be invisible
        axes.plot(*shown, color=COLOURS[number], label=label, markersize=4, **{**look, **single})
    if axes.lines:
        axes.legend(frameon=False)
    else:
        curves.say_none(axes)
