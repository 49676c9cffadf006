"""What computes a network's maps, as a user says it."""

from __future__ import annotations  # so that an older Python can import this module

from dataclasses import dataclass

from common.errors import UserError
from common.settings import Settings, flag, option
from engine.backends import registry
from engine.backends.base import AUTO, FLOAT32


@dataclass(frozen=True)
class BackendSettings(Settings):
    """A backend and how it computes.

    Raises:
        UserError: No backend has that name or that precision, or images for 8 bits are given and
            no 8 bits.
    """

    backend: str = option(
        '--backend',
        default=AUTO,
        metavar='NAME',
        help='nnabla, onnxruntime, openvino, tensorrt, one of your own, or auto: the fastest that '
        'is installed, agrees with NNabla and pays: on a CPU openvino, onnxruntime, nnabla; on a '
        'GPU tensorrt, nnabla (default: %(default)s)',
    )
    precision: str = option(
        '--precision',
        default=FLOAT32,
        metavar='TYPE',
        help='float32, or with openvino bfloat16, on CPUs that have it, or int8, with ranges from '
        'images (default: %(default)s)',
    )
    calibration: str | None = option(
        '--calibration',
        metavar='DIR|GLOB',
        help="images for --precision int8 (default: the training images of the config's data set)",
    )
    threads: int | None = option(
        '--threads',
        type=int,
        metavar='N',
        help='of a backend that is not nnabla (default: the cores that this process may use)',
    )
    on_host: bool = flag(
        '--on-host',
        help='of nnabla on a GPU: normalise images and resize logits on the CPU, as all others do',
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        known = AUTO, *registry.names()
        if self.backend not in known:
            raise UserError(
                f'--backend {self.backend}: no such backend; there are {", ".join(known)}'
            )
        precisions = registry.precisions()
        if self.precision not in precisions:
            raise UserError(
                f'--precision {self.precision}: no backend has it; there are '
                f'{", ".join(precisions)}'
            )
        if self.calibration is not None and self.precision != 'int8':
            raise UserError('--calibration belongs to --precision int8, which is not given')
