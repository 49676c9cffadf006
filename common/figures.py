"""Draw figures with matplotlib and write them, without a display."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from common import files, silent_imports
from common.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS_PER_INCH = 110


def new(width: float, height: float, layout: str = 'constrained') -> Figure:
    """Return an empty figure, without pyplot, which would look for a display.

    Args:
        width: Width in inches.
        height: Height in inches.
        layout: Name of the method that places axes; ``compressed`` suits square ones.
    """
    figures = silent_imports.load('matplotlib.figure')
    figure: Figure = figures.Figure(figsize=(width, height), layout=layout)
    return figure


def check_format(path: Path) -> None:
    """Check that matplotlib writes files with the ending of ``path``.

    Raises:
        UserError: It does not.
    """
    if path.suffix[1:].lower() not in new(1, 1).canvas.get_supported_filetypes():
        raise UserError(f'{path}: unknown picture format; use .png, .svg or .pdf')


def write(path: Path, figure: Figure) -> None:
    """Write a figure in the format of the ending.

    Raises:
        UserError: The format is unknown, or the file cannot be written.
    """
    check_format(path)
    with files.replacing(path) as temporary:
        # The file to which a link leads can have another ending.
        figure.savefig(temporary, dpi=DOTS_PER_INCH, format=path.suffix[1:].lower())
