"""The file train.log: the project's messages reach it, and it ends with a whole line."""

import logging
import os
import resource
from collections.abc import Callable
from pathlib import Path

from common.log import PrintableFormatter

LOG_FILE = 'train.log'
ALREADY_LOGGED = 'in_train_log'  # marks messages that train.log already contains


class LogHandler(logging.Handler):
    """Pass log messages to a function, whose exceptions reach the caller of the logger."""

    def __init__(self, append: Callable[[str, str], None]):
        super().__init__()
        self.setFormatter(PrintableFormatter())
        self._append = append

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a message on, unless the log contains it already."""
        if not hasattr(record, ALREADY_LOGGED):
            self._append(self.format(record), record.levelname)


def end_last_line(path: Path) -> None:
    """Terminate a last line that a full disk cut off."""
    with open(path, 'ab+') as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b'\n':
                file.write(b'\n')


def peak_memory_mib() -> float:
    """Return the peak memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux
