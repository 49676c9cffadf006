"""Define the settings of a training, which are the options of train.py."""

from __future__ import annotations  # so that an older Python can import this module

from dataclasses import dataclass

from common.errors import UserError
from common.settings import Settings, flag, group, option
from engine.config.settings import ConfigSettings
from engine.device.settings import DeviceSettings

MAX_SEED = 2**32 - 1  # the largest seed that NumPy's generators accept


@dataclass(frozen=True)
class TrainingSettings(Settings):
    """The settings of a training: its config, its device, its files and how it runs.

    The help texts describe the fields.

    Raises:
        UserError: A number is out of range.
    """

    data_dir: str | None = option(
        '-d',
        '--data-dir',
        metavar='DIR',
        help="folder of the data set (default: the config's data_dir, else data/<data set>)",
    )
    pretrained: str | None = option(
        '-p',
        '--pretrained',
        metavar='H5',
        help='initial weights of a backbone or a whole network: a file, or the name of published '
        "weights (default: the config's `pretrained`)",
    )
    output: str | None = option(
        '-o', '--output-dir', metavar='DIR', help='run folder (default: runs/<config name>)'
    )
    log_interval: int = option(
        '--log-interval',
        type=int,
        default=50,
        metavar='N',
        help='iterations that a line of the log averages (default: %(default)s)',
    )
    recompute: str | None = option(
        '-r',
        '--recompute',
        nargs='?',
        const='bn_relu',
        choices=('bn_relu', 'convolution', 'blocks', 'none'),
        help='save memory at the cost of time: recompute these activations in the backward pass '
        '(without a value: bn_relu)',
    )
    resume: str | None = option(
        '--resume',
        nargs='?',
        const='',
        metavar='PATH',
        help='resume from the state in the output folder, or from another run folder or state '
        "file; without -cfg, with that run's own config",
    )
    allow_changes: bool = flag(
        '--allow-changes',
        help='resume even if the config or the options have changed',
    )
    seed: int | None = option(
        '--seed',
        type=int,
        metavar='N',
        help='seed of initial weights, sample order, augmentation and dropout (default: 0)',
    )
    workers: int | None = option(
        '--workers',
        type=int,
        metavar='N',
        help='worker processes that load samples, for each training process (default: one per '
        "core in this process's share, at most 4)",
    )
    allow_missing_classes: bool = flag(
        '--allow-missing-classes',
        help='train even if no label of the training split shows some of the classes',
    )
    skip_bad: bool = flag(
        '--skip-bad',
        help='replace unreadable samples by others instead of stopping',
    )
    no_validation: bool = flag(
        '--no-validation',
        help='train without validation, and so without best.h5',
    )
    no_sync_bn: bool = flag(
        '--no-sync-bn',
        help='compute batch statistics in each process separately, not over all processes',
    )
    tf32: bool = flag('--tf32', help='use TF32 on a GPU: faster, less precise')
    channel_last: bool = flag(
        '--channel-last',
        help='use the memory layout (N, H, W, C); needs a GPU',
    )
    skip_self_check: bool = flag(
        '--skip-self-check',
        help="train on a GPU without first comparing NNabla's functions with the CPU",
    )
    timeout: float = option(
        '--timeout',
        type=float,
        default=1800,
        metavar='SECONDS',
        help='end a job of several processes that makes no progress for this long (default: '
        '%(default)s)',
    )
    config: ConfigSettings = group(ConfigSettings)
    device: DeviceSettings = group(DeviceSettings)
    weights_url: str | None = option(
        '--weights-url', metavar='URL', help='address to download published weights from'
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (('log_interval', 1), ('workers', 0), ('seed', 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                flag = name.replace('_', '-')
                raise UserError(f'--{flag} must be at least {least}, not {value}')
        if self.seed is not None and self.seed > MAX_SEED:
            raise UserError(f'--seed must be at most {MAX_SEED}, not {self.seed}')
        if not self.timeout > 0:
            raise UserError(f'--timeout must be greater than 0 seconds, not {self.timeout:g}')
