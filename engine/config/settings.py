"""Which config a command takes, and what the command line changes of it."""

from __future__ import annotations  # so that an older Python can import this module

from dataclasses import dataclass

from common.settings import Settings, option


@dataclass(frozen=True)
class ConfigSettings(Settings):
    """A config file and overrides, ``key=value`` texts with values in YAML."""

    config_file: str | None = option(
        '-cfg',
        '--config-file',
        metavar='YAML',
        help="the network, its classes and colours (default: the project's configs/D3Net_L.yaml)",
    )
    overrides: tuple[str, ...] = option(
        '--set',
        action='append',
        default=(),
        metavar='KEY=VALUE',
        help='override a key of the config',
    )
