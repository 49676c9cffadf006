"""Progress bars, which show names of files as printable text."""

import sys
from collections.abc import Callable
from typing import Any

from tqdm import tqdm  # noqa: TID251

from common.terminal import streams
from common.terminal.printable import one_line


class ProgressBar(tqdm):  # type: ignore[type-arg]  # what it iterates over is the caller's
    """A progress bar of tqdm on standard error; its arguments are those of tqdm.

    The bar itself moves the cursor, which no other text of a command can.
    """

    def __init__(self, *arguments: Any, **words: Any):
        words['file'] = streams.unfiltered(sys.stderr)
        super().__init__(*arguments, **words)

    @staticmethod
    def status_printer(file: Any) -> Callable[[str], None]:
        """Return the function that prints the bar's text in place of the earlier one."""
        show = tqdm.status_printer(file)
        return lambda text: show(one_line(text))
