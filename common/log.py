"""The one logger of the project; only rank 0 of a job shows what is below a warning."""

import logging
import os

LOG = logging.getLogger('nnseg')


def set_up(debug: bool) -> None:
    """Show messages on standard error as they are, from INFO on, or from DEBUG on.

    FFmpeg's own messages are never shown: the project finds and reports its failures.
    """
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    logging.basicConfig(format='%(message)s', level=logging.WARNING)
    LOG.setLevel(logging.DEBUG if debug else logging.INFO)
