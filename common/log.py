"""The project's logger; in an MPI job only rank 0 shows messages below a warning."""

import logging
import os

from common.library_output import hide_python_warnings

LOG = logging.getLogger('nnseg')


def set_up(debug: bool) -> None:
    """Show messages without a prefix on standard error.

    Messages of FFmpeg and warnings of Pillow are never shown: the project detects and reports
    damaged files itself.

    Args:
        debug: Show messages from DEBUG on, instead of INFO.
    """
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    hide_python_warnings()
    logging.basicConfig(format='%(message)s', level=logging.WARNING)
    LOG.setLevel(logging.DEBUG if debug else logging.INFO)
