"""A network that is ready to run, and where it comes from."""

from dataclasses import dataclass
from pathlib import Path

from datasets import DatasetInfo
from engine.backends.base import FLOAT32
from engine.backends.calibration import Calibration
from engine.config.config import Config
from engine.device.context import DeviceChoice
from engine.inference.predictor import ViewPredictor
from engine.inference.scene import flow_of
from models.class_table import ClassTable


@dataclass(frozen=True)
class LoadedNetwork:
    """A network with its weights, ready to run.

    Attributes:
        predictor: Computes class maps.
        config: Config of the network, completed with what its file of weights stores.
        info: Names and colours of its classes.
        weights: File that the weights were loaded from, or ``RANDOM_WEIGHTS`` of
            :mod:`engine.inference.loading`.
        sha256: SHA-256 of that file, in hexadecimal digits; None for random weights.
        classes: Names and colours of the classes that the file stores; None if it stores none.
        choice: Device and precision of NNabla's context.
        calibration: Images that determine the 8-bit ranges; None at other precisions.
        precision: Numbers that it is computed in.
    """

    predictor: ViewPredictor
    config: Config
    info: DatasetInfo
    weights: Path | str
    sha256: str | None
    classes: ClassTable | None
    choice: DeviceChoice
    calibration: Calibration | None = None
    precision: str = FLOAT32

    @property
    def flow(self) -> tuple[bool, ...]:
        """For each picture of a scene, whether it is optical flow."""
        return flow_of(self.config, self.predictor.info.inputs)

    @property
    def weights_name(self) -> str:
        """Name of the file of weights, without its folder, or ``RANDOM_WEIGHTS``."""
        return Path(self.weights).name
