"""Draw figures with matplotlib and write them, without a display."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from common import files, silent_imports
from common.errors import UserError
from common.log import LOG

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS_PER_INCH = 110
MISSING_GLYPH = r'Glyph \d+ .*missing from'  # matplotlib's warning of each character


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

    One line says whether the font lacks characters, for which it draws boxes.

    Raises:
        UserError: The format is unknown, or the file cannot be written.
    """
    check_format(path)
    with files.replacing(path) as temporary, warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings('always', MISSING_GLYPH)
        # The file to which a link leads can have another ending.
        figure.savefig(temporary, dpi=DOTS_PER_INCH, format=path.suffix[1:].lower())
    missing = {str(each.message) for each in caught if re.match(MISSING_GLYPH, str(each.message))}
    if missing:
        LOG.warning('%s: boxes stand for %d characters that the font lacks', path, len(missing))
    for each in caught:
        if str(each.message) not in missing:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
