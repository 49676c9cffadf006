"""Collect the files that a network is loaded from, which no output may overwrite."""

from common.writing.protected_files import ProtectedFiles
from engine.backends import calibration
from engine.config.config import Config
from engine.inference.settings import RANDOM, WeightsSettings
from models import weights as model_weights
from models.family import NetworkKeys


def network_files(
    config: Config, weights: WeightsSettings, calibrated_on: str | None = None
) -> ProtectedFiles:
    """Return the inputs of a command that loads a network.

    Args:
        config: Config of the network.
        weights: Weights to load; by default those of the config.
        calibrated_on: Folder or pattern of calibration images, as the user names it.

    Raises:
        UserError: No calibration image is found.
    """
    protected = ProtectedFiles().add('a config of the network', config.files())
    source = weights.weights or NetworkKeys.of(config).weights
    if source and source != RANDOM:
        protected.add('the file of weights', [model_weights.stored(source)])
    if calibrated_on is not None:
        images = calibration.listed(calibrated_on)
        protected.add('a calibration image', images)
    return protected
