"""The project's logger; in an MPI job only rank 0 shows messages below a warning."""

import logging
import os

LOG = logging.getLogger('nnseg')


def set_up(debug: bool) -> None:
    """Show messages without a prefix on standard error.

    FFmpeg's own messages are never shown: the project detects and reports failures of FFmpeg.

    Args:
        debug: Show messages from DEBUG on, instead of INFO.
    """
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    logging.basicConfig(format='%(message)s', level=logging.WARNING)
    LOG.setLevel(logging.DEBUG if debug else logging.INFO)
