"""What a training can be told besides its config."""

from __future__ import annotations  # so that an older Python can import this module

from dataclasses import dataclass

from common.errors import UserError
from common.settings import Settings, flag, group, option
from engine.config.settings import ConfigSettings
from engine.device.settings import DeviceSettings

LARGEST_SEED = 2**32 - 1  # that NumPy's generators take


@dataclass(frozen=True)
class TrainingSettings(Settings):
    """The config of a training, where it computes, and how it runs.

    Raises:
        UserError: A number is out of range.
    """

    data_dir: str | None = option(
        '-d',
        '--data-dir',
        metavar='DIR',
        help="the data set's folder (default: the config's, else data/<data set>)",
    )
    pretrained: str | None = option(
        '-p',
        '--pretrained',
        metavar='H5',
        help='weights to start from, of a backbone or a whole network: a file, or the name of a '
        "published one (default: the config's `pretrained`)",
    )
    output: str | None = option(
        '-o', '--output-dir', metavar='DIR', help='default: runs/<config name>'
    )
    log_interval: int = option(
        '--log-interval',
        type=int,
        default=50,
        metavar='N',
        help='iterations over which the log averages (default: %(default)s)',
    )
    recompute: str | None = option(
        '-r',
        '--recompute',
        nargs='?',
        const='bn_relu',
        choices=('bn_relu', 'convolution', 'blocks', 'none'),
        help='less memory for more time: compute these again in the backward pass (alone: bn_relu)',
    )
    resume: str | None = option(
        '--resume',
        nargs='?',
        const='',
        metavar='PATH',
        help='go on from the state in the output folder, or from another folder or state',
    )
    allow_changes: bool = flag(
        '--allow-changes',
        help='resume although the config has changed',
    )
    seed: int | None = option(
        '--seed', type=int, metavar='N', help='of parameters, data order and dropout (default: 0)'
    )
    workers: int | None = option(
        '--workers',
        type=int,
        metavar='N',
        help='processes that load data, for each process that trains (default: as many as there '
        'are cores for, up to 4)',
    )
    skip_bad: bool = flag(
        '--skip-bad',
        help='replace samples that cannot be read by others, instead of ending',
    )
    no_validation: bool = flag(
        '--no-validation',
        help='train without scores, and without best.h5',
    )
    no_sync_bn: bool = flag(
        '--no-sync-bn',
        help='batch statistics of each process alone, not of all',
    )
    tf32: bool = flag('--tf32', help='faster, coarser float on a GPU')
    channel_last: bool = flag(
        '--channel-last',
        help='(N, H, W, C) in memory; needs a GPU',
    )
    skip_self_check: bool = flag(
        '--skip-self-check',
        help="train on a GPU without comparing NNabla's functions with the CPU first",
    )
    timeout: float = option(
        '--timeout',
        type=float,
        default=1800,
        metavar='SECONDS',
        help='end a job of several processes when nothing has moved for so long (default: '
        '%(default)s)',
    )
    config: ConfigSettings = group(ConfigSettings)
    device: DeviceSettings = group(DeviceSettings)
    weights_url: str | None = option(
        '--weights-url', metavar='URL', help='the address to download published weights from'
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (('log_interval', 1), ('workers', 0), ('seed', 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                flag = name.replace('_', '-')
                raise UserError(f'--{flag} must be at least {least}, not {value}')
        if self.seed is not None and self.seed > LARGEST_SEED:
            raise UserError(f'--seed must be at most {LARGEST_SEED}, not {self.seed}')
        if not self.timeout > 0:
            raise UserError(f'--timeout must be greater than 0 seconds, not {self.timeout:g}')
