"""Run a network in another runtime: export it to ONNX, compile it, compare with NNabla, cache it.

:class:`engine.backends.base.Runtime` is the interface of a runtime, such as OpenVINO.
"""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from importlib import metadata
from itertools import islice
from typing import Any

import nnabla as nn
import numpy as np

from common import PROJECT
from common.log import LOG
from datasets import image_files
from engine.backends.agreement import Agreement, measure_agreement
from engine.backends.base import FLOAT32, Model, Runtime, Shape
from engine.backends.calibration import Calibration, as_input
from engine.backends.disk_cache import CacheKey, DiskCache
from engine.backends.errors import BackendError, DisagreementError
from engine.backends.joined_maps import joined_maps
from engine.backends.nnabla import NnablaBackend
from engine.backends.part import middle_part
from engine.backends.shape_cache import ShapeCache
from engine.onnx.builder import build_model
from engine.onnx.errors import UnsupportedError
from models import Network

PHOTO = PROJECT / 'resources' / 'street.jpg'
MAX_COMPARISON_SECONDS = 5  # comparing a part takes about as long
MIN_COMPARED_STD = 0.1  # backends are compared on a photo if the input varies less than this
# Folders with the code that determines how a network is exported.
SOURCE_FOLDERS = ('layers', 'd3net', 'models', 'engine/onnx', 'engine/backends')
# Number of calibration images, besides the input, on which a reduced precision is compared.
MAX_COMPARED_IMAGES = 7


class ExportedBackend:
    """A backend that runs the exported network in a runtime, with one compiled model per shape.

    At the first use of a shape, the compiled model is compared with NNabla on the current input,
    or on a photo if the input hardly varies. If NNabla would need more than
    ``MAX_COMPARISON_SECONDS`` for the input, a model compiled for a part of it is compared on that
    part. Later uses load the cached model. The parameters must not change after the first use.

    Args:
        network: The network.
        runtime: The runtime that compiles and runs it.
        reference: NNabla's backend for the same network, whose workspace holds the parameters.
        cache: The disk cache of compiled models.
        calibration: Calibration images for the value ranges of int8; None for other precisions.
    """

    def __init__(
        self,
        network: Network,
        runtime: Runtime,
        reference: NnablaBackend,
        cache: DiskCache,
        calibration: Calibration | None = None,
    ):
        self.network, self.runtime, self.used = network, runtime, frozenset({runtime.name})
        self.threads = runtime.threads
        self._reference, self._cache, self._calibration = reference, cache, calibration
        self._models = ShapeCache()
        self._parameters: str | None = None
        self._versions = {
            'nnseg': sources_digest(),
            **_versions('nnabla', 'onnx'),
            **runtime.versions,
        }

    def is_ready(self, shape: Shape) -> bool:
        """Return whether :meth:`run` can serve a shape without compiling.

        The digest of a cached file is not checked.
        """
        return shape in self._models or self._cache.has(self._key(shape))

    def reserve(self, shapes: int) -> None:
        """Keep models for at least ``shapes`` input shapes, the number that one image needs."""
        self._models.reserve(shapes)

    def run(self, x: np.ndarray) -> np.ndarray:
        """Compute the logits of ``x``.

        Args:
            x: (N, 3, H, W) float32, normalised.

        Returns:
            (N, classes, h, w) float32, at the network's own output resolution.

        Raises:
            DisagreementError: The logits differ from NNabla's by more than rounding error, or are
                NaN or infinite in a reduced precision.
            BackendError: The runtime does not support the network or fails on the input.
            MemoryError: The memory does not suffice, even after the models of other shapes are
                released.
        """
        try:
            return self._model(x).run(x)
        except MemoryError:
            if not self._models.keys() - {x.shape}:
                raise
        self.close()  # frees the memory of the other shapes' models
        return self._model(x).run(x)

    def close(self) -> None:
        """Release all models and the reference graphs."""
        self._models.clear()
        self._reference.close()

    def _model(self, x: np.ndarray) -> Model:
        return self._models.get_or_make(x.shape, lambda: self._load(x.shape) or self._build(x))

    def _load(self, shape: Shape) -> Model | None:
        """Load the model of a shape from the disk cache; return None for a cache miss."""
        cached = self._cache.read(self._key(shape))
        if cached is None:
            return None
        payload, facts = cached
        try:
            agreement = Agreement.of_facts(facts.get('agreement'))
            model = self.runtime.load(payload)
        except BackendError as error:
            LOG.warning('%s; compiling again', error.what)
            return None
        self._log_precision(agreement)
        return model

    def _build(self, x: np.ndarray) -> Model:
        """Export, compile, compare and cache the network for the shape of ``x``."""
        started, shape = time.monotonic(), x.shape
        size = f'{shape[2]}x{shape[3]}'
        LOG.info('%s: compiling for %s and comparing with NNabla', self.runtime.name, size)
        part = self._part_to_compare(x)
        x = self._informative(x)
        onnx = self._export(shape)
        exact = self.runtime.exact()
        model = exact.compile(onnx, None)
        if part is None:
            agreement, where = self._checked(model, onnx, x), ''
        else:
            where = ' on {2}x{3} pixels'.format(*part.shape)
            onnx_of_part = self._export(part.shape)
            agreement = self._checked(exact.compile(onnx_of_part, None), onnx_of_part, part)
        self._reference.close()
        if self.runtime.precision != exact.precision:
            inputs: Sequence[np.ndarray] = (
                [] if self._calibration is None else self._calibration.inputs(shape)
            )
            if inputs:
                LOG.info('int8: calibrating value ranges on %d images', len(inputs))
            reduced = self.runtime.compile(onnx, inputs)
            compared = [x, *islice(inputs, MAX_COMPARED_IMAGES)]
            agreement = measure_agreement(model, reduced, compared, self.network.info.tasks)
            if not np.isfinite(agreement.max_difference):
                raise DisagreementError(
                    f'--precision {self.runtime.precision}: {self.network.name} computes NaN or '
                    'infinite logits; use float32'
                )
            model = reduced
        self._cache.write(self._key(shape), model.payload(), {'agreement': asdict(agreement)})
        exactness = f', agrees with NNabla{where}: {agreement}'
        LOG.info(
            '%s: compiled for %s in %.1f s%s',
            self.runtime.name,
            size,
            time.monotonic() - started,
            exactness if self.runtime.precision == FLOAT32 else '',
        )
        self._log_precision(agreement)
        return model

    def _export(self, shape: Shape) -> bytes:
        with self._reference.workspace.entered():
            return export_onnx(self.network, shape)

    def _informative(self, x: np.ndarray) -> np.ndarray:
        """Return an input, or a photo of its shape if the input hardly varies."""
        return photo_input(self.network, x.shape) if x.std() < MIN_COMPARED_STD else x

    def _part_to_compare(self, x: np.ndarray) -> np.ndarray | None:
        """Return the part of an input to compare; None if all of it is compared."""
        part = middle_part(x, self.network.info)
        seconds = self._reference.expected_seconds(x)
        if part is None or seconds <= MAX_COMPARISON_SECONDS:
            return None
        LOG.info(
            'comparing %dx%d pixels, as NNabla would take %.0f s for all', *part.shape[2:], seconds
        )
        return self._informative(part)

    def _checked(self, model: Model, onnx: bytes, x: np.ndarray) -> Agreement:
        """Return the agreement of a model with NNabla; raise ``DisagreementError`` if too small."""
        agreement = measure_agreement(self._reference, model, [x], self.network.info.tasks)
        if not agreement.exact:
            size = f'{x.shape[2]}x{x.shape[3]}'
            kept = self._cache.keep_rejected(self._key(x.shape), onnx)
            raise DisagreementError(
                f'{self.runtime.name} disagrees with NNabla for {self.network.name} at {size}: '
                f'{agreement}; the export is not used, {kept}'
            )
        return agreement

    def _log_precision(self, agreement: Agreement) -> None:
        """Log the share of labels that a reduced precision leaves unchanged."""
        if self.runtime.precision != FLOAT32:
            LOG.info(
                '%s: %.2f %% of labels equal those of float32, on %s',
                self.runtime.precision,
                100 * agreement.equal_labels,
                'one image' if agreement.images == 1 else f'{agreement.images} images',
            )

    def _key(self, shape: Shape) -> CacheKey:
        """Return everything on which the compiled model of a shape depends."""
        if self._parameters is None:
            with self._reference.workspace.entered():
                self._parameters = parameters_digest()
        facts: dict[str, Any] = {
            'hyper': dict(self.network.hyper),
            'parameters': self._parameters,
            'fits': self.runtime.fits,
        }
        if self._calibration is not None:  # the value ranges also depend on the normalisation
            info = self.network.info
            facts['calibration'] = self._calibration.digest
            facts['normalisation'] = info.mean, info.std, info.channel_order
        size = 'x'.join(map(str, shape))
        label = f'{self.network.name}-{size}-{self.runtime.name}-{self.runtime.precision}'
        return CacheKey(label, facts, self._versions)


def export_onnx(network: Network, shape: Shape) -> bytes:
    """Export a network to ONNX, with the input ``image`` of ``shape`` and the output ``maps``.

    Args:
        network: The network, whose parameters are registered.
        shape: (N, 3k, H, W) of the normalised input: the k pictures of a scene.

    Returns:
        The content of an ONNX file.

    Raises:
        BackendError: A function of the network cannot be exported.
    """
    with nn.context_scope(nn.Context(['cpu:float'], 'CpuCachedArray', '0')):
        x = nn.Variable(shape)
        maps = joined_maps(network, x, cuda=False)
        try:
            model = build_model({'maps': maps}, {'image': x}, name=network.name)
        except UnsupportedError as error:
            raise BackendError(f'{network.name} cannot be exported: {error}') from error
        return model.SerializeToString()


def photo_input(network: Network, shape: Shape) -> np.ndarray:
    """Return a street photo as a network input of ``shape``."""
    return as_input(image_files.read_image(PHOTO), network, shape)


def parameters_digest() -> str:
    """Return the SHA-256 of all registered parameters with their names."""
    digest = hashlib.sha256()
    for name, variable in nn.get_parameters(grad_only=False).items():
        digest.update(f'{name} {variable.shape}'.encode())
        digest.update(np.ascontiguousarray(variable.data.get_data('r')).data)
    return digest.hexdigest()


@cache
def sources_digest() -> str:
    """Return the SHA-256 of the project's code that builds and exports networks."""
    digest = hashlib.sha256()
    for folder in SOURCE_FOLDERS:
        for path in sorted((PROJECT / folder).rglob('*.py')):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _versions(*packages: str) -> dict[str, str]:
    return {package: metadata.version(package) for package in packages}
