"""Settings of a command: frozen dataclasses whose fields are its options.

    @dataclass(frozen=True)
    class EvaluationSettings(Settings):
        network: NetworkSettings = group(NetworkSettings)
        limit: int | None = option('--limit', type=int, metavar='N', help='only the first N images')

A command makes them from what its user has typed (:func:`common.command.add_options` and
:func:`common.command.settings`), a Python program by their names:
``EvaluationSettings(limit=10)``.
"""

from __future__ import annotations  # so that an older Python can import this module

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from common.errors import UserError

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


def flag(*flags: str, **words: Any) -> Any:
    """Return the field of an option without a value, which is true when it is given."""
    return option(*flags, default=False, action='store_true', **words)


def group(kind: Callable[[], Any], title: str = '') -> Any:
    """Return the field of settings within settings.

    Args:
        kind: A dataclass all of whose fields have defaults.
        title: Over its options in ``--help``; without one they stand among the others.
    """
    return field(default_factory=kind, metadata={GROUP: title})


@dataclass(frozen=True)
class Settings:
    """What all settings have: a value is one of the choices of its option, as on a command line.

    Raises:
        UserError: A value is none of them.
    """

    def __post_init__(self) -> None:
        for each in fields(self):
            choices, value = each.metadata.get('choices'), getattr(self, each.name)
            for one in value if isinstance(value, tuple) else (value,):
                if choices and one is not None and one != each.default and one not in choices:
                    named = ', '.join(map(str, filter(None, choices)))
                    raise UserError(
                        f'{each.metadata[FLAGS][-1]} {one}: there is no such choice; '
                        f'there are {named}'
                    )
