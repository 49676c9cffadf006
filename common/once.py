"""Warnings that a command shows once, in whichever thread or worker process they arise first.

    once.warn('bit_depth', f'{path}: ...')

A worker process does not know what other processes have shown. It keeps its warnings, and its
parent receives them with each result:

    return result, once.take()              # in the worker
    once.show(warnings)                     # in the parent
"""

import threading
from collections.abc import Iterable

from common.log import LOG

Warnings = list[tuple[str, str]]  # subject and text of each
_lock = threading.Lock()
_seen: set[str] = set()
_kept: Warnings | None = None  # the warnings that a worker keeps; None in other processes


def warn(subject: str, text: str) -> None:
    """Log a warning unless this command has already logged one about ``subject``."""
    with _lock:
        if subject in _seen:
            return
        _seen.add(subject)
        if _kept is not None:
            _kept.append((subject, text))
            return
    LOG.warning('%s', ' '.join(text.splitlines()))  # a file name may contain line breaks


def show(warnings: Iterable[tuple[str, str]]) -> None:
    """Log the warnings of a worker process, except those on subjects that were shown."""
    for subject, text in warnings:
        warn(subject, text)


def keep() -> None:
    """Keep the warnings of this process, a worker, for :func:`take`."""
    global _kept
    _kept = []


def take() -> Warnings:
    """Return the warnings kept since the last call."""
    with _lock:
        if not _kept:
            return []
        taken = list(_kept)
        _kept.clear()
        return taken


def reset() -> None:
    """Show every warning again: a new command begins in this process."""
    with _lock:
        _seen.clear()
