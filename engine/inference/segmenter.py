"""Segment images from Python, in any number of threads."""

import os
from collections.abc import Sequence
from functools import partial
from typing import Any, overload

import numpy as np

from common.errors import InputError, UserError
from common.tasks import CLASSES
from common.terminal.short_repr import short_repr
from datasets import DatasetInfo
from datasets.keys import ImageReading
from engine.backends.settings import BackendSettings
from engine.config.config import Config
from engine.device.settings import DeviceSettings
from engine.inference import file_network, test_time, trained_size
from engine.inference.depth_map import DepthMap, Result
from engine.inference.input_images import bgr_image, flow_picture_of
from engine.inference.loading import LoadedNetwork, load
from engine.inference.predictor import ViewPredictor
from engine.inference.scene import Picture, Scene, scene_of, wrong_number
from engine.inference.scores import ImageScores
from engine.inference.segmentation import Segmentation
from engine.inference.settings import ProtocolSettings, WeightsSettings
from engine.inference.test_time import Protocol, ProtocolKeys

CONFIGURED = ProtocolSettings()  # the views of the config

Source = str | os.PathLike[str] | np.ndarray | Any  # Any: an image of Pillow


class Segmenter:
    """A network with its weights that segments images.

        segmenter = Segmenter('configs/D3Net_T_camvid.yaml')
        result = segmenter('street.jpg')
        result.labels, result.shares, result.overlay()

    Any number of threads may call one segmenter; their results equal those of one thread. So the
    first image of a size takes longer: the backend compiles the network for it.

    Attributes:
        network: The network with its weights, config and predictor.
        protocol: Views of an image that the network sees.
        reading: How image files are read.

    Args:
        config: Config file, or folder of a run; searched in the working directory, then in the
            project. None for configs/D3Net_L.yaml of the project.
        weights: File of weights, name of published weights, which are downloaded if they are
            missing, or an exported file, .onnx or .xml, which needs no config; by default those of
            the config.
        context: Device: ``cpu``, ``cudnn`` (GPU), or ``auto``.
        type_config: Number type of NNabla: ``float``, or on a GPU ``half``.
        backend: Name of the backend, or ``auto``.
        precision: Number type of the backend.
        threads: CPU threads of the backend; by default one per core.
        overrides: ``key=value`` texts that override config keys.
        protocol: Settings that override the views of the config.

    Raises:
        UserError: The config, the weights, the device or the backend cannot be used.
    """

    def __init__(
        self,
        config: str | os.PathLike[str] | None = None,
        weights: str | os.PathLike[str] | None = None,
        *,
        context: str = 'auto',
        type_config: str = 'float',
        backend: str = 'auto',
        precision: str = 'float32',
        threads: int | None = None,
        overrides: Sequence[str] = (),
        protocol: ProtocolSettings = CONFIGURED,
    ):
        if not isinstance(protocol, ProtocolSettings):
            raise UserError(
                f'protocol: {short_repr(protocol)} is no engine.inference.ProtocolSettings; an '
                'engine.Protocol is given with an image: segmenter(image, protocol)'
            )
        chosen = WeightsSettings(weights=None if weights is None else os.fspath(weights))
        loaded = file_network.load_config(config, overrides, chosen)
        self.protocol = test_time.choose_protocol(protocol, ProtocolKeys.of(loaded))
        self._set_network(
            load(
                loaded,
                chosen,
                DeviceSettings(context=context, type_config=type_config),
                BackendSettings(backend=backend, precision=precision, threads=threads, eager=True),
            )
        )

    @classmethod
    def of_settings(
        cls,
        config: Config,
        weights: WeightsSettings,
        device: DeviceSettings,
        backend: BackendSettings,
        protocol: Protocol,
        *,
        gpu: int = 0,
        data_dir: str | os.PathLike[str] | None = None,
    ) -> 'Segmenter':
        """Create a segmenter from the settings of a command.

        Args:
            config: Config of the network.
            weights: Weights to load; by default those of the config.
            device: NNabla's context.
            backend: Backend that computes the network.
            protocol: Views of an image that the network sees.
            gpu: Index of the GPU.
            data_dir: Folder of the data set, see :func:`engine.inference.loading.load`.

        Raises:
            UserError: The weights, the device or the backend cannot be used.
        """
        segmenter = cls.__new__(cls)
        segmenter.protocol = protocol
        segmenter._set_network(load(config, weights, device, backend, gpu=gpu, data_dir=data_dir))
        return segmenter

    def _set_network(self, network: LoadedNetwork) -> None:
        self.network, self.reading = network, ImageReading.of(network.config)
        self._trained_size = ProtocolKeys.of(network.config).trained_size

    @property
    def info(self) -> DatasetInfo:
        """Names and colours of the classes."""
        return self.network.info

    @overload
    def __call__(
        self, images: list[Source] | tuple[Source, ...], protocol: Protocol | None = None
    ) -> list[Result]: ...

    @overload
    def __call__(self, images: Source, protocol: Protocol | None = None) -> Result: ...

    def __call__(
        self, images: Source | list[Source] | tuple[Source, ...], protocol: Protocol | None = None
    ) -> Result | list[Result]:
        """Segment one image or several.

        Args:
            images: The path of an image file, a uint8 array (H, W, 3), BGR, or (H, W), grey, an
                image of Pillow, or a list or tuple of these. A network with several inputs takes
                the pictures of a scene as a tuple, the camera image last, or a list of such tuples.
            protocol: Views of the image that the network sees; by default those of the segmenter.

        Returns:
            The result of the image or scene; a list of results for several. It is that of the
            first task with classes, or of the first depth without one; its ``tasks`` has all.

        Raises:
            InputError: An image cannot be used, or the memory does not suffice.
            UserError: The second argument is no protocol.
        """
        if protocol is not None and not isinstance(protocol, Protocol):
            raise UserError(
                f'protocol: {short_repr(protocol)} is no engine.Protocol; several images are '
                'passed as one list: segmenter([first, second])'
            )
        several_inputs = self.network.predictor.info.inputs > 1
        if not isinstance(images, list if several_inputs else (list, tuple)):
            return self.segment_scene(self.scene_of(images), protocol)
        results = []
        for index, source in enumerate(images):
            try:
                results.append(self.segment_scene(self.scene_of(source), protocol))
            except InputError as error:
                raise InputError(f'images[{index}]: {error}') from error
        return results

    def classes_of(self, image: Picture, protocol: Protocol | None = None) -> Segmentation:
        """Return the result of the first task with classes, of a network that has one.

        Args:
            image: (H, W, 3) uint8, BGR, or the pictures of a scene.
            protocol: Views of the image that the network sees; by default those of the segmenter.

        Raises:
            InputError: The memory does not suffice.
        """
        scene = image if isinstance(image, Scene) else self.scene_of(image)
        result = self.segment_scene(scene, protocol)
        assert isinstance(result, Segmentation), 'the callers have refused networks without classes'
        return result

    def task_maps(self, image: Picture, protocol: Protocol | None = None) -> dict[str, np.ndarray]:
        """Return the map of every task, in the order of the network's outputs.

        Args:
            image: (H, W, 3) uint8, BGR, or the pictures of a scene.
            protocol: Views of the image that the network sees; by default those of the segmenter.

        Returns:
            Class indices, (H, W) uint8, or depth in metres, (H, W) float32, by task.

        Raises:
            InputError: The memory does not suffice.
        """
        views, scene = protocol or self.protocol, scene_of(image)
        trained_size.warn_if_far(views, scene.size, self._trained_size)
        return self.network.predictor.task_maps(scene, views)

    def scene_of(self, source: Source | tuple[Source, ...]) -> Scene:
        """Return the pictures of a scene as the network takes them.

        Args:
            source: What :meth:`__call__` takes as one image or scene.

        Raises:
            InputError: A picture cannot be used, or there are too many or too few.
        """
        sources = source if isinstance(source, tuple) else (source,)
        info = self.network.predictor.info
        if len(sources) != info.inputs:
            raise InputError(wrong_number(len(sources), info))
        pictures = (
            flow_picture_of(each, self.reading) if is_flow else bgr_image(each, self.reading)
            for each, is_flow in zip(sources, self.network.flow)
        )
        return Scene(tuple(pictures), self.network.flow)

    def segment_scene(self, scene: Scene, protocol: Protocol | None = None) -> Result:
        """Return the result of the first task with classes, or of the first task without any.

        Args:
            scene: The pictures.
            protocol: Views of the scene that the network sees; by default those of the segmenter.

        Returns:
            The result, whose ``tasks`` has those of all tasks.

        Raises:
            InputError: The memory does not suffice, or the network takes another number of
                pictures.
        """
        predictor, views = self.network.predictor, protocol or self.protocol
        trained_size.warn_if_far(views, scene.size, self._trained_size)
        tasks = predictor.info.tasks
        if len(tasks) == len(scene.pictures) == 1 and tasks[0].kind == CLASSES:
            labels, scores = predictor.labels_and_scores(scene.image, views)
            compute_scores = partial(predictor.scores, scene.image, views)
            return Segmentation(scene.image, labels, self.info, compute_scores, scores)
        scores_of = predictor.task_scores(scene, views)
        results: dict[str, Result] = {}
        for task in tasks:
            own = scores_of[task.name]
            if task.kind == CLASSES:
                info = self.info.of_task(task.name)
                again = partial(_scores_again, predictor, scene, views, task.name)
                known = own if predictor.gives_scores else None
                results[task.name] = Segmentation(scene.image, own.labels(), info, again, known)
            else:
                results[task.name] = DepthMap(scene.image, own.depth(), task.name)
        for result in results.values():
            result.tasks = results
        with_classes = [result for result in results.values() if isinstance(result, Segmentation)]
        return with_classes[0] if with_classes else results[tasks[0].name]


def _scores_again(
    predictor: ViewPredictor, scene: Scene, protocol: Protocol, task: str
) -> ImageScores:
    """Compute the scores of a task once more; raise ``UserError`` if there are labels only."""
    if not predictor.gives_scores:
        raise UserError(predictor.without_scores)
    return predictor.task_scores(scene, protocol)[task]
