"""Settings of a command: frozen dataclasses whose fields are its options.

    @dataclass(frozen=True)
    class EvaluationSettings:
        network: NetworkSettings = group(NetworkSettings)
        limit: int | None = option('--limit', type=int, metavar='N', help='only the first N images')

A command makes them from what its user has typed (:func:`common.command.add_options` and
:func:`common.command.settings`), a Python program by their names:
``EvaluationSettings(limit=10)``.
"""

from __future__ import annotations  # so that an older Python can import this module

from collections.abc import Callable
from dataclasses import field
from typing import Any

FLAGS, GROUP = 'flags', 'group'  # keys of a field's metadata


def option(*flags: str, default: Any = None, **words: Any) -> Any:
    """Return the field of an option.

    Args:
        flags: How it is written, such as ``-d`` and ``--data-dir``; without any it is positional.
        default: Its value when it is not given.
        words: Keywords of ``argparse.ArgumentParser.add_argument``. ``type`` may raise
            ``ValueError`` with a message for the user. ``exclusive`` names a set of options of
            which one may be given.
    """
    return field(default=default, metadata={FLAGS: flags, **words})


def group(kind: Callable[[], Any], title: str = '') -> Any:
    """Return the field of settings within settings.

    Args:
        kind: A dataclass all of whose fields have defaults.
        title: Over its options in ``--help``; without one they stand among the others.
    """
    return field(default_factory=kind, metadata={GROUP: title})
