"""Draw a confusion matrix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common import figures, silent_imports
from common.terminal.printable import one_line
from common.terminal.short_repr import short_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_CLASSES_WITH_COUNTS = 24  # with more, the cells have no text
CELL_INCHES = {True: 0.52, False: 0.15}  # with and without text
MARGIN_INCHES = 2.6  # beside the cells: names of the classes, and the scale of colours
FONT_POINTS = {True: 10, False: 6}  # of the names, for cells with and without text
CELL_FONT_POINTS = 8.5
GUIDE_CELLS, GUIDE_COLOUR = 10, '#b0b0b0'  # lines that guide the eye where cells have no text
MAX_NAME_CHARACTERS, MAX_TITLE_CHARACTERS = 28, 70  # so that the smallest picture holds them
SCALE_PERCENT = (0, 1, 5, 10, 25, 50, 100)  # marks on the scale of colours
DARK = 0.45  # share of a row from which on a cell's text is white
UNITS = ((10**9, 'G'), (10**6, 'M'), (10**3, 'k'))


def draw(path: Path, title: str, classes: Sequence[str], matrix: np.ndarray) -> None:
    """Write the picture of a confusion matrix, see :func:`figure_of`.

    Raises:
        UserError: The format is unknown, or the file cannot be written.
    """
    figures.write(path, figure_of(title, classes, matrix))


def figure_of(title: str, classes: Sequence[str], matrix: np.ndarray) -> Figure:
    """Draw a confusion matrix whose colours are shares of the rows, which are the true classes.

    Classes that are neither labelled nor predicted are counted below the picture instead. Of up to
    ``MAX_CLASSES_WITH_COUNTS`` classes, the cells show the percentage of the row and the number of
    pixels. The scale of colours is that of a square root, so that rare confusions are visible.

    Args:
        title: Title of the picture.
        classes: Names of the classes.
        matrix: (num_classes, num_classes) int64.
    """
    occur = np.flatnonzero(matrix.sum(0) + matrix.sum(1))
    names = [one_line(short_text(classes[index], MAX_NAME_CHARACTERS)) for index in occur]
    counts = matrix[np.ix_(occur, occur)]
    with np.errstate(invalid='ignore'):
        shares = counts / counts.sum(1, keepdims=True)  # NaN for a class without labelled pixels
    with_text = len(names) <= MAX_CLASSES_WITH_COUNTS
    side = max(4.0, CELL_INCHES[with_text] * len(names))
    figure = figures.new(side + MARGIN_INCHES + 0.6, side + MARGIN_INCHES, 'compressed')
    axes, points = figure.subplots(), 9 + side / 3  # points of all text outside of the cells
    short_title = one_line(short_text(title, MAX_TITLE_CHARACTERS))
    axes.set_title(short_title, parse_math=False, fontsize=points)
    notes = _notes(counts, len(classes), with_text)
    axes.set_xlabel('\n'.join(('predicted', '', *notes)), fontsize=points)
    axes.set_ylabel('true', fontsize=points)
    colours = silent_imports.load('matplotlib.colors')
    scale = colours.PowerNorm(0.5, vmin=0, vmax=1)
    axes.set_facecolor('#dddddd')
    drawn = axes.imshow(shares, cmap='Blues', norm=scale, interpolation='nearest')
    _label(axes, names, FONT_POINTS[with_text])
    if with_text:
        _write_counts(axes, shares, counts)
    else:
        _guide_the_eye(axes, len(names))
    bar = figure.colorbar(drawn, ax=axes, shrink=0.6, pad=0.02, aspect=30)
    bar.set_ticks([percent / 100 for percent in SCALE_PERCENT])
    bar.set_ticklabels([f'{percent} %' for percent in SCALE_PERCENT])
    bar.ax.tick_params(labelsize=points)
    bar.set_label('share of the true class', fontsize=points)
    return figure


def _notes(counts: np.ndarray, num_classes: int, with_text: bool) -> Iterable[str]:
    """Return lines about the cells; a single line of all would not fit under few classes."""
    absent, unlabelled = num_classes - len(counts), not counts.sum(1).all()
    notes = (
        'in a cell: % of the true class, and pixels' if with_text else '',
        'grey: no labelled pixel' if unlabelled else '',
        f'left out, as they do not occur: {absent} of {num_classes} classes' if absent else '',
    )
    return filter(None, notes)


def _label(axes: Axes, names: Sequence[str], points: float) -> None:
    """Name rows and columns, and draw lines between the cells."""
    places = range(len(names))
    # A name may look like a formula.
    axes.set_xticks(places, names, rotation=90, fontsize=points, parse_math=False)
    axes.set_yticks(places, names, fontsize=points, parse_math=False)
    edges = np.arange(len(names) + 1) - 0.5
    axes.set_xticks(edges, minor=True)
    axes.set_yticks(edges, minor=True)
    axes.grid(which='minor', color='white', linewidth=0.5)
    axes.tick_params(which='minor', length=0)


def _guide_the_eye(axes: Axes, count: int) -> None:
    """Repeat the names on the other sides, and draw lines at every tenth class."""
    axes.tick_params(top=True, right=True, labeltop=True, labelright=True)
    axes.tick_params(axis='x', labelrotation=90)
    for place in np.arange(GUIDE_CELLS, count, GUIDE_CELLS) - 0.5:
        axes.axhline(place, color=GUIDE_COLOUR, linewidth=0.5)
        axes.axvline(place, color=GUIDE_COLOUR, linewidth=0.5)


def _write_counts(axes: Axes, shares: np.ndarray, counts: np.ndarray) -> None:
    """Write the percentage of the row and the number of pixels into the cells that have any."""
    for row, column in np.argwhere(counts):
        share = shares[row, column]
        axes.text(
            column,
            row,
            f'{percent_text(share)}\n{count_text(int(counts[row, column]))}',
            ha='center',
            va='center',
            fontsize=CELL_FONT_POINTS,
            color='white' if share > DARK else 'black',
        )


def percent_text(share: float) -> str:
    """Return a share in percent in up to four characters, such as ``97.1``."""
    return '<0.1' if share < 0.0005 else f'{100 * share:.1f}' if share < 0.9995 else '100'


def count_text(count: int) -> str:
    """Return a number in up to four characters, such as ``12k`` and ``1.2M``."""
    for unit, letter in UNITS:
        if count >= 0.9995 * unit:  # 999,600 is 1.0M
            value = count / unit
            return f'{value:.1f}{letter}' if value < 9.95 else f'{value:.0f}{letter}'
    return str(count)
