"""Measure the memory of this process, alone or with its descendants, and of another one."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

POLL_SECONDS = 0.05


def peak_mib(run: Callable[[], object]) -> float:
    """Run ``run``; return the peak memory of this process and all its descendants, in MiB.

    The unit is proportional set size, which counts shared pages once.
    """
    peak, done = [0], threading.Event()

    def watch():
        finished = False
        while not finished:
            peak[0] = max(peak[0], sum(map(_proportional_kib, _own_and_descendants())))
            finished = done.wait(POLL_SECONDS)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run()
    finally:
        done.set()
        watcher.join()
    return peak[0] / 1024


def own_peak_mib() -> float:
    """Return the peak resident memory of this process since its start, in MiB."""
    lines = _read(Path('/proc/self/status')).splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith('VmHWM:')) / 1024


def resident_mib(process: int) -> float:
    """Return the resident memory of a running process now, in MiB."""
    lines = _read(Path(f'/proc/{process}/status')).splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith('VmRSS:')) / 1024


def _own_and_descendants() -> list[int]:
    parents = {}
    for entry in Path('/proc').iterdir():
        if entry.name.isdigit():
            status = _read(entry / 'stat')
            if status:  # the fields follow the command's name, which can contain any character
                parents[int(entry.name)] = int(status.rpartition(')')[2].split()[1])
    family = [os.getpid()]
    for process in family:
        family += [child for child, parent in parents.items() if parent == process]
    return family


def _proportional_kib(process: int) -> int:
    lines = _read(Path(f'/proc/{process}/smaps_rollup')).splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith('Pss:')), 0)


def _read(path: Path) -> str:
    """Read a file of a process; return an empty string when the process has ended."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ''
