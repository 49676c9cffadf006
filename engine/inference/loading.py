"""Load a network with its weights on the device and the backend that a user chooses."""

import os
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nnabla as nn

import models
from common import files
from common.errors import UserError
from common.log import LOG
from datasets.keys import DataKeys
from engine.backends import calibration, select
from engine.backends.base import FLOAT32
from engine.backends.calibration import Calibration
from engine.backends.nnabla import NnablaBackend
from engine.backends.settings import BackendSettings
from engine.config import task_classes
from engine.config.config import Config
from engine.config.data import with_input_kind
from engine.config.loading import class_info, data_set_info
from engine.device import context
from engine.device.context import DeviceChoice
from engine.device.settings import DeviceSettings
from engine.inference import exported_file, file_network
from engine.inference.loaded import LoadedNetwork
from engine.inference.predictor import Predictor
from engine.inference.settings import RANDOM, WeightsSettings
from layers.workspace import NNABLA_LOCK, Workspace
from models import input_statistics
from models.class_table import ClassTable, first_difference
from models.errors import NonFiniteError
from models.family import NetworkKeys
from models.weights import LoadReport

RANDOM_SEED = 0
RANDOM_WEIGHTS = f'random weights, seed {RANDOM_SEED}'


def load(
    config: Config,
    weights: WeightsSettings,
    device: DeviceSettings,
    backend: BackendSettings | None = None,
    *,
    gpu: int = 0,
    data_dir: str | os.PathLike | None = None,
) -> LoadedNetwork:
    """Create the network of a config and load its weights, in a workspace of its own.

    So a process can load several networks, also of the same kind, and use them at the same time.
    The weights can be a file of engine.export, which is run as it is.

    Args:
        config: Config of the network.
        weights: Weights to load; by default those of the config.
        device: NNabla's context.
        backend: Backend that computes the network; None selects NNabla, which runs no exported
            file.
        gpu: Index of the GPU.
        data_dir: Folder of the data set, for the images that determine the 8-bit ranges, and for
            names of classes and the kind of the first of two pictures where neither config nor
            weights have them; by default the config's.

    Raises:
        UserError: The weights are missing or do not fit, or the device or the backend is
            unusable.
    """
    keys = NetworkKeys.of(config)
    source = weights.weights or keys.weights
    if not source:
        raise UserError(_missing_weights(config))
    random = source == RANDOM
    exported = None if backend is None else exported_file.find(source)
    if backend is not None and exported is not None:
        config = file_network.config_of(config, weights)
        return file_network.load_file(config, exported_file.read(exported), device, backend)
    with NNABLA_LOCK:  # another thread may load a network for another device
        choice = context.use(device.context, device.type_config, gpu)
        workspace = Workspace({})
    LOG.info('%s', choice)
    described = models.describe(config)
    path, classes = None, None
    if not random:
        url = weights.weights_url
        path = models.weights.find_for(
            keys.network, described.num_classes, source, url, described.structure
        )
        classes = models.weights.class_table(path)
        config = with_classes(_with_statistics(config, keys, path), classes, path)
    config = with_input_kind(config, data_dir)
    info = class_info(config, data_dir)
    _report_generated_names(config, data_dir)
    network = models.create(config)
    release = partial(context.release_cached_memory, choice)
    with workspace.entered():
        if random:
            nn.random.set_parameter_seed(RANDOM_SEED)
        predictor = Predictor(network, release)
    images = None
    if backend is not None:
        select.resolve_name(backend, choice)
        if backend.precision == 'int8':
            images = calibration.find_images(network, config, backend.calibration, data_dir)
        use_backend(predictor, backend, choice, release, images)
    precision = FLOAT32 if backend is None else backend.precision
    if choice.type_config == 'half':
        precision = 'float16'
    if path is None:
        LOG.warning('%s: results only show that config and data work', RANDOM_WEIGHTS)
        return LoadedNetwork(
            predictor, config, info, RANDOM_WEIGHTS, None, None, choice, images, precision
        )
    digest = _digest(path)
    with workspace.entered():
        report = _load_parameters(path, weights)
    if report.missing or report.extra:
        LOG.warning(
            '%s: %d parameters loaded; %d parameters of the network are not in the file and keep '
            'their initial values; %d in the file are unknown to the network',
            path,
            len(report.loaded),
            len(report.missing),
            len(report.extra),
        )
    return LoadedNetwork(predictor, config, info, path, digest, classes, choice, images, precision)


def _load_parameters(path: Path, weights: WeightsSettings) -> LoadReport:
    """Load a file of weights into the registered parameters of the present workspace."""
    try:
        return models.weights.load(
            path, strict=not weights.partial, allow_non_finite=weights.allow_non_finite
        )
    except NonFiniteError as error:
        raise UserError(f'{error}, or these nevertheless with --allow-non-finite') from error


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
    with predictor.workspace.entered():
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


def _missing_weights(config: Config) -> str:
    """Return the message for a config without weights."""
    if config.run is None:
        advice = models.weights.published.advice_for(
            NetworkKeys.of(config).network, models.describe(config)
        )
        return (
            f'{config.path} names no weights: pass some with -m; {advice}; -m {RANDOM} tries the '
            'config without'
        )
    run = config.run.path
    return (
        f'{run}: this run has saved no weights yet, best.h5, final.h5 or model_param_*.h5, as it '
        f'does every save_interval iterations: continue it with train.py -o {shlex.quote(str(run))}'
        ' --resume if it was stopped, or pass other weights with -m'
    )


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file of weights.

    It is taken when the file is loaded, as a training may replace the file afterwards.
    """
    try:
        return files.sha256_of(path)
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror})') from error


def with_classes(config: Config, stored: ClassTable | None, path: Path) -> Config:
    """Return the config, completed with the names and colours stored in the file of weights."""
    if stored is None or len(stored.names) != models.describe(config).num_classes:
        return config
    own = DataKeys.of(config).classes
    index = None if own is None else first_difference(own, stored.names)
    if own is not None and index is not None:
        LOG.warning(
            '%s: class %d is called %r there, but %r in the config; using the config (%s)',
            path, index, stored.names[index], own[index], config.origin('classes'),
        )  # fmt: skip
    found = {'classes': stored.names, 'palette': stored.colours}
    return config.completed({key: value for key, value in found.items() if value}, str(path))


def _report_generated_names(config: Config, data_dir: str | os.PathLike | None) -> None:
    """Warn about classes of tasks whose names are generated."""
    lacking = task_classes.without_names(config, data_set_info(config, data_dir))
    if lacking:
        folder = data_dir or DataKeys.of(config).data_dir
        several = len(models.describe(config).tasks) > 1
        further = {task.name for task in task_classes.further_tasks(config)}.intersection(lacking)
        keys = ['classes and palette'] * (len(further) < len(lacking))
        keys += [task_classes.KEY] * bool(further)
        LOG.warning(
            'the names of the classes%s are in neither the config nor the weights%s: they are '
            'called class 0, class 1, ...; set data_dir to the folder of the data set, or %s',
            f' of {" and ".join(lacking)}' if several else '',
            f' nor {folder}' if folder else '',
            ', and '.join(keys),
        )
