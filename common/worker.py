"""Set up a worker process."""

import signal
from collections.abc import Sequence

import cv2

from common import once
from common.terminal import streams
from common.terminal.library_output import hide_python_warnings


def become_worker(ignored: Sequence[signal.Signals] = (signal.SIGINT,)) -> None:
    """Limit OpenCV to one thread in this process, ignore signals, hide warnings, guard streams.

    Other worker processes use the other cores. The parent shows our own warnings
    (:mod:`common.once`).

    Args:
        ignored: Signals that a terminal or launcher sends to all processes of a job; the parent
            handles them and ends its workers.
    """
    cv2.setNumThreads(1)
    once.keep()
    hide_python_warnings()
    streams.guard()
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
