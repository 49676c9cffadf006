"""Settings of the config: the file, and the overrides of the command line."""

from __future__ import annotations  # so that an older Python can import this module

from dataclasses import dataclass

from common.settings import Settings, option


@dataclass(frozen=True)
class ConfigSettings(Settings):
    """A config file, and its overrides: ``key=value`` texts with values in YAML."""

    config_file: str | None = option(
        '-cfg',
        '--config-file',
        metavar='YAML',
        help='config file of the network, its classes and colours, or the folder of a run, whose '
        'own weights it selects (default: configs/D3Net_L.yaml of the project)',
    )
    overrides: tuple[str, ...] = option(
        '--set',
        action='extend',
        nargs='+',
        default=(),
        metavar='KEY=VALUE',
        help='override config keys; several at once, or repeated',
    )
