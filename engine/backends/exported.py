"""A network in another runtime: exported to ONNX, compared with NNabla, compiled, kept.

What a runtime is says :class:`engine.backends.base.Runtime`; OpenVINO is one.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from itertools import islice
from typing import Any

import nnabla as nn
import numpy as np

from common import PROJECT
from common.log import LOG
from datasets import image_files
from engine.backends.base import FLOAT32, Backend, Model, Runtime, Shape
from engine.backends.calibration import Calibration, as_input
from engine.backends.disk_cache import DiskCache
from engine.backends.errors import BackendError, DisagreementError
from engine.backends.shape_cache import ShapeCache
from engine.onnx.builder import build_model
from engine.onnx.operators import UnsupportedError
from models import Network

PHOTO = PROJECT / 'resources' / 'street.jpg'
TOLERANCE = 1e-4  # of the largest logit
MIN_COMPARED_STD = (
    0.1  # standard deviation of an input below which it shows too little to compare with
)
# What an export depends on.
SOURCE_FOLDERS = ('layers', 'd3net', 'models', 'engine/onnx', 'engine/backends')
MAX_COMPARED_IMAGES = (
    7  # images of the calibration that a precision is judged by, beside the one at hand
)


@dataclass(frozen=True)
class Agreement:
    """How two backends agree. largest: difference of logits; highest: logit of the reference;
    equal: share of equal labels.
    """

    largest: float
    highest: float
    equal: float
    images: int = 1

    @property
    def exact(self) -> bool:
        """Whether they compute the same, but for rounding; what is not finite is never the same."""
        return bool(np.isfinite(self.highest)) and self.largest <= TOLERANCE * self.highest

    def __str__(self):
        return (
            f'largest difference {self.largest:.1e}, of logits up to {self.highest:.3g}, '
            f'{self.equal:.2%} of labels equal'
        )


class ExportedBackend:
    """The models of the latest shapes in a runtime, of the parameters as they are when it is first
    used.

    reference: NNabla's graphs. The first use of a shape compares with them on the input at hand,
    or on a photo where that is one flat colour; later ones load what was compiled then. Raises
    ``DisagreementError`` when the numbers differ, ``BackendError`` when the runtime cannot take the
    network or fails on an input, ``MemoryError``.
    """

    def __init__(
        self,
        network: Network,
        runtime: Runtime,
        reference: Backend,
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
        """Whether :meth:`run` has nothing to compile for a shape, as far as a file's first line
        tells.
        """
        return shape in self._models or self._cache.has(self._name(shape), self._versions)

    def reserve(self, shapes: int) -> None:
        """Keep the models of as many shapes as an image is seen in."""
        self._models.reserve(shapes)

    def run(self, x: np.ndarray) -> np.ndarray:
        """The logits of ``x``."""
        try:
            return self._model(x).run(x)
        except MemoryError:
            if not self._models.keys() - {x.shape}:
                raise
        self.close()  # what the others hold may be what this one lacks
        return self._model(x).run(x)

    def close(self) -> None:
        """Drop all models, and the graphs that they were compared with."""
        self._models.clear()
        self._reference.close()

    def _model(self, x: np.ndarray) -> Model:
        return self._models.get_or_make(x.shape, lambda: self._load(x.shape) or self._build(x))

    def _load(self, shape: Shape) -> Model | None:
        kept = self._cache.read(self._name(shape), self._versions)
        if kept is None:
            return None
        payload, record = kept
        try:
            model = self.runtime.load(payload)
        except BackendError as error:
            LOG.warning('%s; it is made anew', error.what)
            return None
        self._tell_precision(Agreement(**record['agreement']))
        return model

    def _build(self, x: np.ndarray) -> Model:
        started, shape = time.monotonic(), x.shape
        name = self._name(shape)
        if x.std() < MIN_COMPARED_STD:
            x = photo_input(self.network, shape)
        onnx = export_onnx(self.network, shape)
        exact = self.runtime.exact()
        model = exact.compile(onnx, None)
        agreement = measure_agreement(self._reference, model, [x])
        if not agreement.exact:
            raise DisagreementError(
                f'{self.runtime.name} computes something else than NNabla for '
                f'{self.network.name} at {shape[2]}x{shape[3]}: {agreement}; the export is not '
                f'used, {self._cache.keep_rejected(name, onnx)}'
            )
        self._reference.close()
        if self.runtime.precision != exact.precision:
            inputs: Sequence[np.ndarray] = (
                [] if self._calibration is None else self._calibration.inputs(shape)
            )
            if inputs:
                LOG.info('int8: finding the ranges of values on %d images', len(inputs))
            reduced = self.runtime.compile(onnx, inputs)
            agreement = measure_agreement(model, reduced, [x, *islice(inputs, MAX_COMPARED_IMAGES)])
            if not np.isfinite(agreement.largest):
                raise DisagreementError(
                    f'--precision {self.runtime.precision}: {self.network.name} computes numbers '
                    'that are none; take float32'
                )
            model = reduced
        self._cache.write(name, self._versions, model.payload(), {'agreement': asdict(agreement)})
        LOG.info(
            '%s: compiled for %dx%d in %.1f s%s',
            self.runtime.name,
            *shape[2:],
            time.monotonic() - started,
            f', agrees with NNabla: {agreement}' if self.runtime.precision == FLOAT32 else '',
        )
        self._tell_precision(agreement)
        return model

    def _tell_precision(self, agreement: Agreement) -> None:
        if self.runtime.precision != FLOAT32:
            LOG.info(
                '%s: %.2f %% of labels are those of float32, on %s',
                self.runtime.precision,
                100 * agreement.equal,
                'one image' if agreement.images == 1 else f'{agreement.images} images',
            )

    def _name(self, shape: Shape) -> str:
        """What is compiled, as a file name."""
        if self._parameters is None:
            self._parameters = parameters_digest()
        facts: dict[str, Any] = {
            'hyper': dict(self.network.hyper),
            'parameters': self._parameters,
            'fits': self.runtime.fits,
        }
        if self._calibration is not None:  # its images are normalised
            info = self.network.info
            facts['calibration'] = self._calibration.digest
            facts['normalisation'] = info.mean, info.std, info.channel_order
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
        size = 'x'.join(map(str, shape))
        runtime = self.runtime
        return (
            f'{self.network.name}-{size}-{runtime.name}-{runtime.precision}-'
            + (digest.hexdigest()[:24])
        )


def export_onnx(network: Network, shape: Shape) -> bytes:
    """The network from normalised inputs of ``shape`` to its maps, as ONNX; raises
    ``BackendError``.
    """
    with nn.context_scope(nn.Context(['cpu:float'], 'CpuCachedArray', '0')):
        x = nn.Variable(shape)
        maps = network(x, cuda=False)[0]
        try:
            model = build_model({'maps': maps}, {'image': x}, name=network.name)
        except UnsupportedError as error:
            raise BackendError(f'{network.name} cannot be exported: {error}') from error
        return model.SerializeToString()


def measure_agreement(
    reference: Backend | Model, model: Model, inputs: Iterable[np.ndarray]
) -> Agreement:
    """Hold the maps of ``model`` against those of ``reference``."""
    largest = highest = 0.0
    equal = []
    for x in inputs:
        expected, found = reference.run(x), model.run(x)
        largest = np.maximum(largest, np.abs(expected - found).max())  # which keeps a NaN
        highest = np.maximum(highest, np.abs(expected).max())
        equal.append(np.mean(expected.argmax(axis=1) == found.argmax(axis=1)))
    return Agreement(float(largest), float(highest), float(np.mean(equal)), len(equal))


def photo_input(network: Network, shape: Shape) -> np.ndarray:
    """A street photo as an input of ``shape``."""
    return as_input(image_files.read_image(PHOTO), network, shape)


def parameters_digest() -> str:
    """A digest of all registered parameters with their names."""
    digest = hashlib.sha256()
    for name, variable in nn.get_parameters(grad_only=False).items():
        digest.update(f'{name} {variable.shape}'.encode())
        digest.update(np.ascontiguousarray(variable.data.get_data('r')).data)
    return digest.hexdigest()


@cache
def sources_digest() -> str:
    """A digest of the project's code that networks and exports are made by."""
    digest = hashlib.sha256()
    for folder in SOURCE_FOLDERS:
        for path in sorted((PROJECT / folder).rglob('*.py')):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _versions(*packages: str) -> dict[str, str]:
    return {package: metadata.version(package) for package in packages}
