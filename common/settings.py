"""Command settings: frozen dataclasses whose fields are command-line options.

    @dataclass(frozen=True)
    class EvaluationSettings(Settings):
        network: NetworkSettings = group(NetworkSettings)
        limit: int | None = option('--limit', type=int, metavar='N', help='only the first N images')

A command creates them from its command line (:func:`common.command.add_options` and
:func:`common.command.settings`). A Python program creates them by keyword:
``EvaluationSettings(limit=10)``.
"""

from __future__ import annotations  # lets an older Python import this module

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from common.errors import UserError

FLAGS, GROUP = 'flags', 'group'  # keys in the metadata of a field


def option(*flags: str, default: Any = None, **words: Any) -> Any:
    """Return the dataclass field of an option.

    Args:
        flags: Option strings such as ``-d`` and ``--data-dir``; none for a positional argument.
        default: Value if the option is absent.
        words: Keywords of ``argparse.ArgumentParser.add_argument``. ``type`` may raise
            ``ValueError`` with a message for the user. ``exclusive`` names a set of mutually
            exclusive options.
    """
    return field(default=default, metadata={FLAGS: flags, **words})


def flag(*flags: str, **words: Any) -> Any:
    """Return the dataclass field of a boolean option, which is False if absent."""
    return option(*flags, default=False, action='store_true', **words)


def group(kind: Callable[[], Any], title: str = '') -> Any:
    """Return the dataclass field of nested settings.

    Args:
        kind: A dataclass all of whose fields have defaults.
        title: Heading of its options in ``--help``; without one they are listed with the others.
    """
    return field(default_factory=kind, metadata={GROUP: title})


@dataclass(frozen=True)
class Settings:
    """Base class of all settings; it checks the ``choices`` of options set from Python.

    Raises:
        UserError: A value is not one of the choices of its option.
    """

    def __post_init__(self) -> None:
        for each in fields(self):
            choices, value = each.metadata.get('choices'), getattr(self, each.name)
            for one in value if isinstance(value, tuple) else (value,):
                if choices and one is not None and one != each.default and one not in choices:
                    named = ', '.join(map(str, filter(None, choices)))
                    raise UserError(
                        f'{each.metadata[FLAGS][-1]} {one}: invalid choice; choose from {named}'
                    )
