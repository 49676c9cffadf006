"""What a user asks of the backends."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.backends.base import AUTO

if TYPE_CHECKING:  # the commands' options need this class before it is known what is installed
    from engine.backends.calibration import Calibration


@dataclass(frozen=True)
class Settings:
    """What the options say.

    Attributes:
        backend: A name of :data:`engine.backends.base.BACKENDS`, or ``AUTO``.
        precision: One of :data:`engine.backends.base.PRECISIONS`.
        threads: How many threads compute; None is what this process may use (``common.machine``).
        calibration: The images that 8-bit ranges are found on; None for other precisions.
    """

    backend: str = AUTO
    precision: str = 'float32'
    threads: int | None = None
    calibration: 'Calibration | None' = None
