"""Run a program on a terminal, and return what it shows there."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Sequence
from typing import Any

ROWS, COLUMNS = 24, 100


def run_on_terminal(
    arguments: Sequence[str], streams: Sequence[str] = ('stderr',), **settings: Any
) -> tuple[int, str]:
    """Run a program whose streams lead to a terminal.

    Args:
        arguments: The program and its arguments.
        streams: Those of ``stdout`` and ``stderr`` that lead to the terminal.
        settings: Further arguments of ``subprocess.Popen``.

    Returns:
        The exit status, and all that the terminal received.
    """
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack('HHHH', ROWS, COLUMNS, 0, 0))
    process = subprocess.Popen(arguments, **dict.fromkeys(streams, follower), **settings)
    os.close(follower)
    seen = b''
    try:
        while piece := os.read(leader, 10_000):
            seen += piece
    except OSError:  # EIO: the last writer closed the terminal
        pass
    os.close(leader)
    return process.wait(), seen.decode()
