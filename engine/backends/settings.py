"""Settings of the backend, as the command line sets them."""

from __future__ import annotations  # so that an older Python can import this module

from dataclasses import dataclass

from common.errors import UserError
from common.settings import Settings, flag, option
from engine.backends import registry
from engine.backends.base import AUTO, FLOAT32


@dataclass(frozen=True)
class BackendSettings(Settings):
    """The backend that computes a network's logits, with its precision and threads.

    Attributes:
        eager: Whether ``auto`` compiles every size at its first use, so that a result does not
            depend on the images before it; commands compile only what pays off.

    Raises:
        UserError: The backend or the precision is unknown, or calibration images are passed without
            ``--precision int8``.
    """

    backend: str = option(
        '--backend',
        default=AUTO,
        metavar='NAME',
        help='nnabla, onnxruntime, openvino, tensorrt, one of your own, or auto: the fastest one '
        'that is installed, agrees with NNabla and is worth compiling for the size, tried on a CPU '
        'in the order openvino, onnxruntime, nnabla, and on a GPU tensorrt, nnabla '
        '(default: %(default)s)',
    )
    precision: str = option(
        '--precision',
        default=FLOAT32,
        metavar='TYPE',
        help='float32; with openvino also bfloat16, on CPUs that support it, and int8, calibrated '
        'on images (default: %(default)s)',
    )
    calibration: str | None = option(
        '--calibration',
        metavar='DIR|GLOB',
        help='calibration images for --precision int8 (default: the training images of the '
        "config's data set)",
    )
    threads: int | None = option(
        '--threads',
        type=int,
        metavar='N',
        help='number of CPU threads of a backend other than nnabla (default: one per available '
        'core)',
    )
    on_host: bool = flag(
        '--on-host',
        help='with nnabla on a GPU, normalise images and resize logits on the CPU, as all other '
        'backends do',
    )
    eager: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        known = AUTO, *registry.names()
        if self.backend not in known:
            raise UserError(
                f'--backend {self.backend}: unknown backend; available are {", ".join(known)}'
            )
        precisions = registry.precisions()
        if self.precision not in precisions:
            raise UserError(
                f'--precision {self.precision}: no backend supports it; available are '
                f'{", ".join(precisions)}'
            )
        if self.calibration is not None and self.precision != 'int8':
            raise UserError('--calibration requires --precision int8')
