"""Load a network with its weights on the device and the backend that a user chooses."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import models
from common.errors import UserError
from common.log import LOG
from engine.backends import calibration, select
from engine.backends.calibration import Calibration
from engine.backends.nnabla import NnablaBackend
from engine.backends.settings import BackendSettings
from engine.config.loading import Config
from engine.device import context
from engine.device.context import DeviceChoice
from engine.device.settings import DeviceSettings
from engine.inference.predictor import Predictor
from engine.inference.settings import WeightsSettings
from models import input_statistics
from models.family import NetworkKeys


@dataclass(frozen=True)
class LoadedNetwork:
    """A network with its weights, ready to run.

    Attributes:
        predictor: Computes class maps.
        config: Config of the network.
        weights: File that the weights were loaded from.
        choice: Device and precision of NNabla's context.
        calibration: Images that determine the 8-bit ranges; None at other precisions.
    """

    predictor: Predictor
    config: Config
    weights: Path
    choice: DeviceChoice
    calibration: Calibration | None = None


def load(
    config: Config,
    weights: WeightsSettings,
    device: DeviceSettings,
    backend: BackendSettings | None = None,
    *,
    gpu: int = 0,
    data_dir: str | None = None,
) -> LoadedNetwork:
    """Create the network of a config and load its weights.

    Args:
        config: Config of the network.
        weights: Weights to load; by default those of the config.
        device: NNabla's context.
        backend: Backend that computes the network; None selects NNabla.
        gpu: Index of the GPU.
        data_dir: Folder of the data set whose images determine the 8-bit ranges; by default the
            config's.

    Raises:
        UserError: The weights are missing or do not fit, or the device or the backend is
            unusable.
    """
    keys = NetworkKeys.of(config)
    source, info = weights.weights or keys.weights, models.describe(config)
    if not source:
        advice = models.weights.published.advice_for(keys.network, info)
        raise UserError(f'{config.path} names no weights: pass some with -m; {advice}')
    choice = context.use(device.context, device.type_config, gpu)
    LOG.info('%s', choice)
    path = models.weights.find_for(keys.network, info.num_classes, source, weights.weights_url)
    network = models.create(_with_statistics(config, keys, path))
    release = partial(context.release_cached_memory, choice)
    predictor, images = Predictor(network, release), None
    if backend is not None:
        select.resolve_name(backend, choice)
        if backend.precision == 'int8':
            images = calibration.find_images(network, config, backend.calibration, data_dir)
        use_backend(predictor, backend, choice, release, images)
    report = models.weights.load(path, strict=not weights.partial)
    if report.missing or report.extra:
        LOG.warning(
            '%s: %d parameters loaded; %d parameters of the network are not in the file and keep '
            'their initial values; %d in the file are unknown to the network',
            path,
            len(report.loaded),
            len(report.missing),
            len(report.extra),
        )
    return LoadedNetwork(predictor, config, path, choice, images)


def use_backend(
    predictor: Predictor,
    settings: BackendSettings,
    choice: DeviceChoice,
    release: Callable[[], None],
    images: Calibration | None = None,
) -> None:
    """Make a predictor compute its maps with the backend of the settings.

    Args:
        predictor: Predictor of a network whose parameters are registered.
        settings: Settings of the backend.
        choice: NNabla's context.
        release: Callback that returns the memory of dropped graphs to the system.
        images: Images that determine the 8-bit ranges.

    Raises:
        UserError: The backend cannot be used.
    """
    predictor.backend = select.create(
        settings, predictor.network, choice, release, calibration=images
    )
    if choice.name == 'cudnn' and isinstance(predictor.backend, NnablaBackend):
        if not settings.on_host:
            predictor.stay_on_device()
    elif settings.on_host:
        LOG.warning('--on-host has no effect: only NNabla on a GPU resizes on the device')


def _with_statistics(config: Config, keys: NetworkKeys, path: Path) -> Config:
    """Return the config, completed with the input statistics stored in the file of weights."""
    found = models.weights.input_statistics(path)
    taken = input_statistics.resolve(models.describe(config), found, keys, path)
    return config.completed(taken, str(path)) if taken else config
