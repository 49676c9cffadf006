"""The project's logger; in an MPI job only rank 0 shows messages below a warning."""

import copy
import logging
import os
from pathlib import PurePath

from common.printable import one_line, printable

LOG = logging.getLogger('nnseg')


class PrintableFormatter(logging.Formatter):
    """A formatter without control characters; the name of a file stays in its line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        if isinstance(record.args, tuple) and any(isinstance(a, PurePath) for a in record.args):
            record = copy.copy(record)
            record.args = tuple(
                one_line(each) if isinstance(each, PurePath) else each for each in record.args
            )
        return printable(super().format(record))


def set_up(debug: bool) -> None:
    """Show messages without a prefix on standard error.

    FFmpeg's own messages are never shown: the project detects and reports failures of FFmpeg.

    Args:
        debug: Show messages from DEBUG on, instead of INFO.
    """
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter('%(message)s'))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    LOG.setLevel(logging.DEBUG if debug else logging.INFO)
