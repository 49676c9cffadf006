"""Where a command lets NNabla compute, and how precisely."""

from __future__ import annotations  # so that an older Python can import this module

from dataclasses import dataclass

from common.settings import Settings, option

CONTEXTS, TYPES = ('auto', 'cpu', 'cudnn'), ('float', 'half')


@dataclass(frozen=True)
class DeviceSettings(Settings):
    """NNabla's context and the type of its numbers."""

    context: str = option(
        '-c',
        '--context',
        default='auto',
        choices=CONTEXTS,
        help='auto is cudnn where it works, else cpu (default: %(default)s)',
    )
    type_config: str = option(
        '-t',
        '--type-config',
        default='float',
        choices=TYPES,
        help='precision; half needs a GPU (default: %(default)s)',
    )
