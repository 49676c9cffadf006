"""The models of a server: the configs whose weights are here, and the loaded ones among them."""

import difflib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import models
from common import PROJECT
from common.errors import UserError
from common.log import LOG
from common.tasks import CLASSES, Task
from common.terminal.short_repr import short_repr
from datasets import DatasetInfo
from engine.config import loading as configs
from engine.config.config import Config
from engine.inference import file_network, planning, test_time
from engine.inference.loading import with_classes
from engine.inference.scene import flow_of
from engine.inference.segmenter import Segmenter
from engine.inference.settings import WeightsSettings
from engine.inference.test_time import Protocol, ProtocolKeys
from engine.serve.refusal import Refusal
from engine.serve.settings import ServeSettings
from models.family import NetworkKeys

MAX_LOADED = 3  # models; a large one needs gigabytes
CONFIGS = PROJECT / 'configs'


@dataclass(frozen=True)
class CatalogueEntry:
    """A model that the server offers.

    Attributes:
        name: Name in requests, unique in the catalogue.
        config: Config of the network.
        weights: Settings of its weights.
        file: Name of the file of weights.
        info: Names and colours of its classes, of all tasks.
        tasks: What it predicts for every pixel.
        flow: For each picture that it takes, whether it is optical flow; the camera image is last.
        protocol: Views of an image that the network sees.
    """

    name: str
    config: Config
    weights: WeightsSettings
    file: str
    info: DatasetInfo
    tasks: tuple[Task, ...]
    flow: tuple[bool, ...]
    protocol: Protocol

    @property
    def network(self) -> str:
        """Name of the network."""
        return NetworkKeys.of(self.config).network

    @property
    def inputs(self) -> int:
        """Number of pictures that it takes."""
        return len(self.flow)

    @property
    def main_task(self) -> Task:
        """The first task with classes, or the first one of a network with depth alone."""
        return planning.task_names(self.tasks)['']

    @property
    def has_classes_alone(self) -> bool:
        """Whether one task, which has classes, is all that it predicts."""
        return len(self.tasks) == 1 and self.main_task.kind == CLASSES

    def task(self, name: str | None) -> Task:
        """Return a task by its name; the main one without a name.

        Raises:
            Refusal: There is no such task.
        """
        if name is None:
            return self.main_task
        for task in self.tasks:
            if task.name == name:
                return task
        names = ', '.join(task.name for task in self.tasks)
        raise Refusal(422, f'task: {self.name} has no {short_repr(name)}; it has {names}')

    @property
    def scalable(self) -> bool:
        """Whether a scale may be given: the views follow the size or the shape of the image."""
        return not (self.protocol.size or self.protocol.short_sides)

    @property
    def resizes(self) -> bool:
        """Whether the model itself resizes every picture if no scale is given."""
        return not self.scalable or self.protocol.area_of is not None

    def scaled(self, scale: float | None) -> Protocol:
        """Return the views of an image at a scale, as ``infer.py --scale`` has them.

        A scale is one of the image's own size, in place of the area of the training.

        Raises:
            Refusal: The model resizes every picture to a size of its own.
        """
        if scale is None:
            return self.protocol
        if not self.scalable:
            raise Refusal(
                422,
                f'scale: {self.name} resizes every picture to a size of its own; leave scale out',
            )
        return replace(self.protocol, scales=(scale,), area_of=None)


class Catalogue:
    """The models that the server offers, the default one first.

    Args:
        settings: Settings of the server.
        folder: Folder of the configs that are offered if their weights are here.

    Raises:
        UserError: The config of the settings is unusable, or no weights are here.
    """

    def __init__(self, settings: ServeSettings, folder: Path = CONFIGS):
        self._settings = settings
        self._segmenters: dict[str, Segmenter] = {}  # the least recently used one first
        self._lock, self._loading = threading.Lock(), threading.Lock()
        given, weights = settings.config.config_file, settings.weights
        chosen = given is not None or weights.weights is not None
        stored = [] if chosen else list(_stored_configs(folder))
        if chosen:
            config = configs.load(given, settings.config.overrides)
            config = file_network.config_of(config, weights)
        else:
            config = self._first(stored)
        first = self._entry(config, weights)
        self._default = self._load(first)
        network = self._default.network
        first = replace(first, file=network.weights_name, info=network.info)
        self.default, self.entries = first.name, {first.name: first}
        for config in stored or _stored_configs(folder):
            if config.path != first.config.path:
                entry = self._entry(config, WeightsSettings())
                name, number = entry.name, 2
                while name in self.entries:
                    name, number = f'{entry.name}-{number}', number + 1
                self.entries[name] = replace(entry, name=name)

    def entry(self, name: str | None) -> CatalogueEntry:
        """Return the model of a name; the default one without a name.

        Raises:
            Refusal: There is no such model.
        """
        if name is None:
            return self.entries[self.default]
        if name in self.entries:
            return self.entries[name]
        lower = {known.lower(): known for known in self.entries}
        close = difflib.get_close_matches(name[:200].lower(), lower, n=3, cutoff=0.5)
        named = [lower[each] for each in close] or list(self.entries)[:3]
        raise Refusal(
            422,
            f'model: {short_repr(name)} is not here; the nearest: {", ".join(named)} (GET /models '
            'lists all)',
        )

    def is_loaded(self, name: str) -> bool:
        """Return whether a model answers without being loaded first."""
        return name == self.default or name in self._segmenters

    def segmenter(self, entry: CatalogueEntry) -> Segmenter:
        """Return the loaded model of an entry; the least recently used ones are dropped.

        Raises:
            Refusal: The model cannot be loaded.
        """
        if entry.name == self.default:
            return self._default
        found = self._cached(entry.name)
        if found is not None:
            return found
        with self._loading:  # one at a time: two of them might not fit into the memory
            return self._cached(entry.name) or self._loaded(entry)

    def _cached(self, name: str) -> Segmenter | None:
        """Return a loaded model, which becomes the most recently used one."""
        with self._lock:
            segmenter = self._segmenters.pop(name, None)
            if segmenter is not None:
                self._segmenters[name] = segmenter
            return segmenter

    def _loaded(self, entry: CatalogueEntry) -> Segmenter:
        """Load a model in the place of the least recently used ones."""
        with self._lock:
            while len(self._segmenters) > MAX_LOADED - 2:  # beside the default one and this one
                del self._segmenters[next(iter(self._segmenters))]
        try:
            segmenter = self._load(entry)
        except UserError as error:
            LOG.error('error: %s', error)
            raise Refusal(
                500, f'model: {entry.name} cannot be loaded; the log of the server says why'
            ) from error
        with self._lock:
            self._segmenters[entry.name] = segmenter
        return segmenter

    def _load(self, entry: CatalogueEntry) -> Segmenter:
        return Segmenter.of_settings(
            entry.config,
            entry.weights,
            self._settings.device,
            replace(self._settings.backend, eager=True),  # whatever was asked for before
            entry.protocol,
        )

    def _first(self, stored: list[Config]) -> Config:
        """Return the default config if its weights are here, else the first one."""
        if not stored:
            raise UserError(
                'no config of the project has its weights here; pass a config with -cfg, or '
                'weights with -m'
            )
        large = (each.path for each in stored if each.path == configs.DEFAULT_CONFIG)
        path = next(large, stored[0].path)
        return configs.load(path, self._settings.config.overrides)

    def _entry(self, config: Config, weights: WeightsSettings) -> CatalogueEntry:
        info = models.describe(config)
        source = weights.weights or NetworkKeys.of(config).weights
        file = models.weights.stored(source) if source else None
        if file is not None:
            config = with_classes(config, models.weights.class_table(file), file)
        return CatalogueEntry(
            config.name,
            config,
            weights,
            file.name if file else Path(source or '').name,
            configs.class_info(config),
            info.tasks,
            flow_of(config, info.inputs),
            test_time.choose_protocol(self._settings.protocol, ProtocolKeys.of(config)),
        )


def _stored_configs(folder: Path) -> Iterator[Config]:
    """Yield the usable configs of a folder whose weights are here."""
    for path in sorted(folder.glob('*.yaml')):
        try:
            config = configs.load(path)
        except UserError as error:
            LOG.warning('%s is not served: %s', path.stem, error)
            continue
        source = NetworkKeys.of(config).weights
        if source and models.weights.stored(source):
            yield config
