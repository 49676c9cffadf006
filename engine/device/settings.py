"""Settings of the device: NNabla's context and number type."""

from __future__ import annotations  # so that an older Python can import this module

from dataclasses import dataclass

from common.settings import Settings, option

CONTEXTS, TYPES = ('auto', 'cpu', 'cudnn'), ('float', 'half')


@dataclass(frozen=True)
class DeviceSettings(Settings):
    """NNabla's context and number type."""

    context: str = option(
        '-c',
        '--context',
        default='auto',
        choices=CONTEXTS,
        help='device: cpu, cudnn (GPU), or auto, which is cudnn where it works and cpu otherwise '
        '(default: %(default)s)',
    )
    type_config: str = option(
        '-t',
        '--type-config',
        default='float',
        choices=TYPES,
        help='number type: float or half; half needs a GPU (default: %(default)s)',
    )
