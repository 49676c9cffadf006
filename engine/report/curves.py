"""Draw the curves of a training run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common import figures, silent_imports
from common.terminal.printable import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_INCHES, HEIGHT_INCHES = 9, 9
COLOURS = {'loss': '#1f5fa8', 'rate': '#8a4fa0', 'score': '#1d7f4f'}
LOG_SCALE_RATIO = 10  # an axis is logarithmic if largest / smallest value exceeds this
MAX_DRAWN_ROWS = 200_000  # of more, only every second or third and so on is drawn
MAX_DRAWN = 1e100  # matplotlib overflows with larger values
MIN_SMOOTHED_VALUES = 40  # the running mean is drawn from this number of values on

Rows = Sequence[tuple[float, ...]]  # pairs of an iteration and a value


def draw_curves(path: Path, title: str, losses: Rows, rates: Rows, scores: Rows):
    """Draw loss, learning rate and validation mIoU over iterations, one below the other.

    Args:
        path: File to write; its ending selects the format.
        title: Title of the picture.
        losses: Pairs of an iteration and a training loss.
        rates: Pairs of an iteration and a learning rate.
        scores: Pairs of an iteration and a validation mIoU in percent.

    Raises:
        UserError: The format is unknown, or the file cannot be written.
    """
    figures.check_format(path)
    figure = figures.new(WIDTH_INCHES, HEIGHT_INCHES)
    figure.suptitle(one_line(title), parse_math=False)  # the name of a folder is no formula
    loss, rate, score = figure.subplots(3, 1, sharex=True)
    _draw_losses(loss, as_columns(losses))
    draw_line(rate, as_columns(rates), 'learning rate', COLOURS['rate'])
    draw_line(score, as_columns(scores), 'validation mIoU in %', COLOURS['score'], marker='o')
    for axes in (loss, rate):
        choose_scale(axes)
    set_iterations(score, max([1, *(row[0] for row in (*losses, *scores))]))
    mark_best(score, as_columns(scores))
    figures.write(path, figure)


def _draw_losses(axes: Axes, columns: np.ndarray):
    """Draw noisy values in a pale colour, with their running mean over a twentieth of them."""
    iterations, values = columns
    if len(values) < MIN_SMOOTHED_VALUES:
        draw_line(axes, columns, 'training loss', COLOURS['loss'])
        return
    draw_line(
        axes, columns, 'training loss', COLOURS['loss'], alpha=0.3, label='mean of an interval'
    )
    half = _half_window(values)
    _, means = smoothed(columns)
    axes.plot(iterations, means, color=COLOURS['loss'], label=f'mean of {2 * half + 1} intervals')
    axes.legend(frameon=False)


def _half_window(values: np.ndarray) -> int:
    return len(values) // 40


def smoothed(columns: np.ndarray) -> np.ndarray:
    """Return iterations, and the running mean of values if there are many, as an array (2, N)."""
    iterations, values = columns
    if len(values) < MIN_SMOOTHED_VALUES:
        return columns
    return np.stack((iterations, _running_mean(values, _half_window(values))))


def _running_mean(values: np.ndarray, half: int) -> np.ndarray:
    """Return centred running means that ignore NaN.

    The window shrinks near the ends, because a one-sided mean would deviate on a slope.

    Args:
        values: (N,) float.
        half: Number of values on each side of the centre.
    """
    known = np.isfinite(values)
    sums = np.append(0, np.cumsum(np.where(known, values, 0)))
    counts = np.append(0, np.cumsum(known))
    place = np.arange(len(values))
    reach = np.minimum(half, np.minimum(place, place[::-1]))
    first, end = place - reach, place + reach + 1
    found = counts[end] - counts[first]
    nothing = np.full(len(values), np.nan)
    return np.divide(sums[end] - sums[first], found, out=nothing, where=found > 0)


def draw_line(axes: Axes, columns: np.ndarray, name: str, colour: str, **style):
    """Draw a line of values with their name, or say that there are none yet."""
    prepare(axes, name)
    if columns.size:
        marker = 'o' if columns.shape[1] == 1 else None  # a line of one point would be invisible
        axes.plot(*columns, **{'color': colour, 'marker': marker, 'markersize': 4, **style})
    else:
        say_none(axes)


def prepare(axes: Axes, name: str) -> None:
    """Name the values of a part of the picture, and draw its grid."""
    axes.set_ylabel(name)
    axes.grid(alpha=0.3)
    axes.spines[['top', 'right']].set_visible(False)


def say_none(axes: Axes) -> None:
    """Say that there are no values yet."""
    axes.text(0.5, 0.5, 'none yet', transform=axes.transAxes, ha='center', color='grey')
    axes.set_yticks([])


def set_iterations(axes: Axes, last: float) -> None:
    """Name the axis of the iterations, and make it end behind the last one."""
    ticker = silent_imports.load('matplotlib.ticker')
    axes.set_xlabel('iteration')
    axes.xaxis.set_major_locator(ticker.MaxNLocator(8, steps=[1, 2, 5, 10], integer=True))
    axes.xaxis.set_major_formatter(ticker.EngFormatter(sep=''))
    axes.set_xlim(0, 1.02 * last)


def mark_best(axes: Axes, columns: np.ndarray):
    """Mark the largest value."""
    if columns.size:
        iteration, value = columns[:, np.argmax(columns[1])]
        on_the_right = iteration > axes.get_xlim()[1] / 2  # the text goes to the side with space
        axes.margins(y=0.12)
        axes.axhline(value, color='grey', linewidth=0.8, linestyle=':')
        axes.annotate(
            f'best {value:.2f}',
            (iteration, value),
            xytext=(0, 4),
            textcoords='offset points',
            ha='right' if on_the_right else 'left',
        )


def choose_scale(axes: Axes):
    """Use a logarithmic axis if the values span more than ``LOG_SCALE_RATIO``."""
    values = np.concatenate([line.get_ydata() for line in axes.lines] or [[]])
    values = values[np.isfinite(values)]
    if values.size and values.min() > 0 and values.max() > LOG_SCALE_RATIO * values.min():
        ticker = silent_imports.load('matplotlib.ticker')
        axes.set_yscale('log')
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(ticker.NullLocator())
        axes.yaxis.set_major_formatter(ticker.StrMethodFormatter('{x:g}'))


def as_columns(rows: Rows) -> np.ndarray:
    """Return iterations and values as an array (2, N); values too large to draw are infinite."""
    every = 1 + len(rows) // MAX_DRAWN_ROWS
    columns = np.array(rows[::every], float).reshape(-1, 2).T
    huge = np.abs(columns) > MAX_DRAWN
    return np.where(huge, np.copysign(np.inf, columns), columns)
