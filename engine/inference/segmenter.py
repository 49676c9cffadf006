"""Segment images from Python, in any number of threads."""

import os
from collections.abc import Sequence
from functools import partial
from typing import Any, overload

import numpy as np

from common.errors import InputError, UserError
from common.terminal.short_repr import short_repr
from datasets import DatasetInfo
from datasets.keys import ImageReading
from engine.backends.settings import BackendSettings
from engine.config import loading as configs
from engine.config.config import Config
from engine.device.settings import DeviceSettings
from engine.inference import file_network, test_time, trained_size
from engine.inference.input_images import bgr_image
from engine.inference.loading import LoadedNetwork, load
from engine.inference.segmentation import Segmentation
from engine.inference.settings import ProtocolSettings, WeightsSettings
from engine.inference.test_time import Protocol, ProtocolKeys, size_of

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
        loaded = file_network.config_of(configs.load(config, overrides), chosen)
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
    ) -> list[Segmentation]: ...

    @overload
    def __call__(self, images: Source, protocol: Protocol | None = None) -> Segmentation: ...

    def __call__(
        self, images: Source | list[Source] | tuple[Source, ...], protocol: Protocol | None = None
    ) -> Segmentation | list[Segmentation]:
        """Segment one image or several.

        Args:
            images: The path of an image file, a uint8 array (H, W, 3), BGR, or (H, W), grey, an
                image of Pillow, or a list or tuple of these.
            protocol: Views of the image that the network sees; by default those of the segmenter.

        Returns:
            The result of the image; a list of results for several.

        Raises:
            InputError: An image cannot be used, or the memory does not suffice.
            UserError: The second argument is no protocol.
        """
        if protocol is not None and not isinstance(protocol, Protocol):
            raise UserError(
                f'protocol: {short_repr(protocol)} is no engine.Protocol; several images are '
                'passed as one list: segmenter([first, second])'
            )
        if not isinstance(images, (list, tuple)):
            return self._segment(bgr_image(images, self.reading), protocol)
        results = []
        for index, source in enumerate(images):
            try:
                results.append(self._segment(bgr_image(source, self.reading), protocol))
            except InputError as error:
                raise InputError(f'images[{index}]: {error}') from error
        return results

    def _segment(self, image: np.ndarray, protocol: Protocol | None) -> Segmentation:
        predictor, views = self.network.predictor, protocol or self.protocol
        trained_size.warn_if_far(views, size_of(image), self._trained_size)
        labels, scores = predictor.labels_and_scores(image, views)
        compute_scores = partial(predictor.scores, image, views)
        return Segmentation(image, labels, self.info, compute_scores, scores)
