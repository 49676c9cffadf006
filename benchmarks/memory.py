"""How much memory a process and its children use."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

INTERVAL = 0.05  # seconds between two looks


def peak_mib(run: Callable[[], object]) -> float:
    """The most memory in MiB that this process and its children had while ``run`` ran.

    Proportional set size: what several processes share is counted once. Children of children are
    counted as well.
    """
    peak, done = [0], threading.Event()

    def watch():
        finished = False
        while not finished:
            peak[0] = max(peak[0], sum(map(_proportional_kib, _family())))
            finished = done.wait(INTERVAL)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run()
    finally:
        done.set()
        watcher.join()
    return peak[0] / 1024


def own_peak_mib() -> float:
    """The most resident memory in MiB that this process has ever had."""
    lines = _read(Path('/proc/self/status')).splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith('VmHWM:')) / 1024


def _family() -> list[int]:
    parents = {}
    for entry in Path('/proc').iterdir():
        if entry.name.isdigit():
            status = _read(entry / 'stat')
            if status:  # what comes after the command's name, which may hold anything
                parents[int(entry.name)] = int(status.rpartition(')')[2].split()[1])
    family = [os.getpid()]
    for process in family:
        family += [child for child, parent in parents.items() if parent == process]
    return family


def _proportional_kib(process: int) -> int:
    lines = _read(Path(f'/proc/{process}/smaps_rollup')).splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith('Pss:')), 0)


def _read(path: Path) -> str:
    """A file of a process; nothing when that has ended."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ''
