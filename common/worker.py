"""Set up a worker process."""

import signal
from collections.abc import Sequence

import cv2


def become_worker(ignored: Sequence[signal.Signals] = (signal.SIGINT,)) -> None:
    """Limit OpenCV to one thread in this process, and ignore signals.

    Other worker processes use the other cores.

    Args:
        ignored: Signals that a terminal or launcher sends to all processes of a job; the parent
            handles them and ends its workers.
    """
    cv2.setNumThreads(1)
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
