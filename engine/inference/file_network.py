"""Load an exported file in the place of a network: its config, its views, its predictor."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import models
from common import once
from common.errors import InputError, UserError
from common.log import LOG
from datasets.keys import DataKeys, ImageReading
from engine.backends.settings import BackendSettings
from engine.config import loading as configs
from engine.config import task_classes
from engine.config.config import Config
from engine.config.data import with_input_kind
from engine.config.task_classes import TaskClassKeys
from engine.device import context
from engine.device.context import DeviceChoice
from engine.device.settings import DeviceSettings
from engine.inference import exported_file
from engine.inference.exported_file import ExportedFile
from engine.inference.file_backend import FileBackend
from engine.inference.loaded import LoadedNetwork
from engine.inference.predictor import ViewPredictor
from engine.inference.settings import WeightsSettings
from engine.inference.test_time import Protocol, Size
from models.class_table import ClassTable
from models.family import NetworkKeys

SIZE_KEYS = (
    'test_size',
    'test_scales',
    'test_short_sides',
    'test_max_size',
    'trained_size',
    'test_trained_area',
)
WINDOW_KEYS = ('test_window', 'test_stride')
KEPT_KEYS = ('input_kind',)  # keys of a file's config that belong to its weights


def load_config(
    config_file: str | os.PathLike[str] | None,
    overrides: Iterable[str],
    weights: WeightsSettings,
    options: Mapping[str, tuple[str, Any]] = MappingProxyType({}),
) -> Config:
    """Read the config of a command, which is that of an exported file if its weights are one.

    Args:
        config_file: The config; None for that of the exported file, or else the default one, with
            which the file has nothing to do.
        overrides: ``key=value`` texts that override config keys.
        weights: Weights to load; by default those of the config.
        options: Name and value of a command-line option, by the key that the option sets.

    Raises:
        UserError: The file is unusable, or the config is invalid or that of another network.
    """
    path = exported_file.find(weights.weights) if config_file is None else None
    if path is None:
        return config_of(configs.load(config_file, overrides, options), weights)
    given = configs.parse_overrides(overrides)
    given |= {key: value for key, (_, value) in options.items()}
    set_by = {key: option for key, (option, _) in options.items()}
    return _own_config(exported_file.read(path), given, set_by)


def config_of(config: Config, weights: WeightsSettings) -> Config:
    """Return the config of an exported file, if the weights to load are one; else ``config``.

    The file has all keys of its network and its classes. A config that the user has named stays,
    and must agree with the file. Keys of the command line hold in either case.

    Args:
        config: Config of the settings.
        weights: Weights to load; by default those of the config.

    Raises:
        UserError: The file is unusable, or the config is that of another network.
    """
    path = exported_file.find(weights.weights or NetworkKeys.of(config).weights)
    if path is None or config.path == path:
        return config
    file = exported_file.read(path)
    if config.named:
        return _agreeing(config.completed(_facts(file), str(path)), file)
    given = {key: config[key] for key in config.given()}
    return _own_config(file, given, {key: str(config.origin(key)) for key in given})


def load_file(
    config: Config, file: ExportedFile, device: DeviceSettings, backend: BackendSettings
) -> LoadedNetwork:
    """Load an exported file.

    Args:
        config: A result of :func:`config_of`.
        file: The file.
        device: NNabla's context, of which only the device matters.
        backend: Backend that runs the file.

    Raises:
        UserError: The device or the backend cannot run it, or its metadata contradict each other.
    """
    described = models.describe(config)
    if (described.inputs, described.tasks) != (file.info.inputs, file.info.tasks):
        raise UserError(
            f'{file.path}: its metadata is damaged (inputs or tasks are not those of its config); '
            'export it again'
        )
    choice = _choice(file, device)
    if backend.on_host:
        LOG.warning('--on-host has no effect: only NNabla on a GPU resizes on the device')
    config = with_input_kind(config)
    runs = FileBackend(file, backend, choice)
    predictor = FilePredictor(file, runs)
    facts = file.facts
    colours = tuple((r, g, b) for r, g, b in facts['palette'])
    table = ClassTable(tuple(facts['classes']), colours)
    info = configs.class_info(config)
    return LoadedNetwork(
        predictor, config, info, file.path, file.sha256, table, choice, precision=runs.precision
    )


class FilePredictor(ViewPredictor):
    """A predictor whose network is an exported file.

    A file of a fixed size sees views of that size. An image that padding brings to it is padded, as
    for the network itself; any other is resized to it.

    Args:
        file: The file.
        backend: Runs it.
    """

    def __init__(self, file: ExportedFile, backend: FileBackend):
        super().__init__(file.info, backend)
        self._file = file
        self.gives_scores = file.facts['output'] != 'labels'
        self.without_scores = (
            f'{file.path}: its output are labels, which have no probabilities; export it again '
            'with --output maps'
        )

    def adapted(self, protocol: Protocol, size: Size) -> Protocol:
        """Return the protocol with which the file sees an image of ``size``.

        Raises:
            InputError: The protocol shows the file views of other sizes than its own.
            UserError: It does so for every image.
        """
        own = self._file.size
        if own is None:
            return protocol
        shapes = {self._shape(view, protocol.window) for view in protocol.views(*size)}
        if shapes == {own}:
            return protocol
        plain_protocol = replace(Protocol(), flip=protocol.flip)
        windows_fit = self._shape(own, protocol.window) == own
        if not windows_fit or replace(protocol, window=None, stride=None) != plain_protocol:
            seen = ', '.join(f'{height}x{width}' for height, width in sorted(shapes))
            error = UserError if protocol.size else InputError  # size counts for every image
            raise error(
                f'{self._file.path} sees {own[0]}x{own[1]} pixels only, not {seen}: leave out '
                '--size, --scales, --slide and what else sets the size of views, or export it with '
                '--size dynamic'
            )
        if protocol.window:
            once.warn(
                f'windows of {self._file.path}',
                f'{self._file.path}: images smaller than its windows are resized to '
                f'{own[0]}x{own[1]}',
            )
        return replace(protocol, size=own)

    def described(self, protocol: Protocol) -> Protocol:
        """Return the protocol for reports, with the size to which images are resized."""
        if self._file.size is None or protocol != replace(Protocol(), flip=protocol.flip):
            return protocol
        return replace(protocol, size=self._file.size)


def _choice(file: ExportedFile, device: DeviceSettings) -> DeviceChoice:
    """Return the device: the CPU, unless the settings name the GPU."""
    if device.type_config == 'half':
        raise UserError(f'-t half: works with NNabla only, which cannot run {file.path}')
    if device.context != 'cudnn':
        return DeviceChoice('cpu', device.type_config)
    if not file.is_onnx:
        raise UserError(f'-c cudnn: OpenVINO runs {file.path} on the CPU; leave it out')
    return context.use(device.context, device.type_config)


def _facts(file: ExportedFile) -> dict[str, Any]:
    """Return the config keys that a file's metadata sets, whatever its config says."""
    facts = file.facts
    keys = ('classes', 'palette', 'num_classes', 'mean', 'std', 'channel_order')
    reading = {key: facts[key] for key in ImageReading().conversion if facts.get(key) is not None}
    kept = {key: facts['config'][key] for key in KEPT_KEYS if key in facts['config']}
    named = facts['config'].get('tasks')  # load_file compares them with those of the file
    own = named if isinstance(named, list) else []
    tables = {task: table for task, table in facts[task_classes.KEY].items() if task in own}
    others = {task_classes.KEY: tables} if tables else {}
    return {key: facts[key] for key in keys} | others | reading | kept


def _own_config(file: ExportedFile, given: Mapping[str, Any], set_by: Mapping[str, str]) -> Config:
    """Return the config that a file holds, with the keys of the command line."""
    stored = _stored(file)
    if given.get('network') not in (None, stored['network']):  # with other keys than the file's
        raise _disagreement(
            set_by.get('network', configs.SET_OPTION), 'network', file, 'leave it out'
        )
    found = configs.from_values(file.path, stored, given, set_by)
    _require_same(found, configs.from_values(file.path, stored), file, 'leave them out')
    return found


def _agreeing(config: Config, file: ExportedFile) -> Config:
    """Return a config that the user named, completed with what a file knows.

    Raises:
        UserError: The config describes another network or other classes.
    """
    remedy = 'leave -cfg out, as the file has its own'
    data = DataKeys.of(config)
    completed = config.completed(_facts(file), str(file.path))
    _require_same(completed, configs.from_values(file.path, _stored(file)), file, remedy)
    names = data.classes or configs.data_set_info(config).classes
    if names and names != tuple(file.facts['classes']):
        raise _disagreement(config.origin('classes'), 'classes', file, remedy)
    for key in _unfit_keys(config, file):
        completed = completed.without(key)
    return completed


def _stored(file: ExportedFile) -> dict[str, Any]:
    """Return the config keys that a file stores, without views that do not suit its size."""
    stored = {'network': file.facts['network'], **file.facts['config'], **_facts(file)}
    unfit = _unfit_keys(stored, file)
    return {key: value for key, value in stored.items() if key not in unfit}


def _unfit_keys(values: Mapping[str, Any], file: ExportedFile) -> tuple[str, ...]:
    """Return the keys of views that a file of a fixed size replaces by its own size."""
    if file.size is None:
        return ()
    return SIZE_KEYS + WINDOW_KEYS * (values.get('test_window') != list(file.size))


def _require_same(config: Config, stored: Config, file: ExportedFile, remedy: str) -> None:
    """Raise ``UserError`` if a config describes another network than that of a file."""
    ours, theirs = _described(config), _described(stored)
    for key, value in theirs.items():
        if ours.get(key) != value:
            raise _disagreement(config.origin(key), key, file, remedy)


def _disagreement(origin: str, key: str, file: ExportedFile, remedy: str) -> UserError:
    return UserError(
        f'{origin}: {key} is not that of {file.path}, whose network, classes and input '
        f'are fixed; {remedy}'
    )


def _described(config: Config) -> dict[str, Any]:
    """Return what the configs of one network and its classes have in common."""
    network, data = models.create(config), DataKeys.of(config)
    info = {key: getattr(network.info, key) for key in ('mean', 'std', 'channel_order')}
    own = {'network': network.name, **network.hyper, **info}
    own |= {key: config[key] for key in KEPT_KEYS if key in config}
    tables = TaskClassKeys.of(config).tables()
    own[task_classes.KEY] = {task: table.classes for task, table in tables.items()}
    return {**own, 'classes': data.classes, 'palette': data.palette}
