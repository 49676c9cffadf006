"""The project's logger; in an MPI job only rank 0 shows messages below a warning."""

import copy
import logging
import os
import sys
from pathlib import PurePath

from common.terminal.library_output import hide_python_warnings
from common.terminal.printable import one_line, printable

LOG = logging.getLogger('nnseg')


class PrintableFormatter(logging.Formatter):
    """A formatter without control characters; what is inserted into a message stays in its line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        values = record.args
        if isinstance(values, tuple):
            record = copy.copy(record)
            record.args = tuple(map(_in_one_line, values))
        return printable(super().format(record))


def _in_one_line(value: object) -> object:
    return one_line(value) if isinstance(value, (str, PurePath)) else value


def set_up(debug: bool) -> None:
    """Show messages without a prefix on standard error.

    Messages of FFmpeg and warnings of Pillow are never shown: the project detects and reports
    damaged files itself.

    Args:
        debug: Show messages from DEBUG on, instead of INFO.
    """
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    hide_python_warnings()
    _remove_console_handlers()
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter('%(message)s'))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    LOG.setLevel(logging.DEBUG if debug else logging.INFO)


def _remove_console_handlers() -> None:
    """Remove what NNabla adds when it is imported, as by ``--import`` before a command starts."""
    for handler in list(logging.root.handlers):
        if type(handler) is logging.StreamHandler and handler.stream is sys.stderr:
            logging.root.removeHandler(handler)
