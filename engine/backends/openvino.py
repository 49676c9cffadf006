"""OpenVINO as a backend on CPUs: float32, bfloat16 where supported, and 8 bits by NNCF."""

import io
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib import metadata
from typing import Any

import numpy as np

from common import machine, silent_imports
from engine.backends.base import FLOAT32
from engine.backends.errors import BackendError, as_backend_error, inference_error
from engine.backends.registry import Registration, RuntimeRequest, register

NAME = 'openvino'
PACKAGES = ('openvino', 'onnx')
INSTALL = 'python -m pip install -r requirements.txt'
INSTALL_NNCF = 'python -m pip install -r requirements-deploy.txt'
HINTS = {'float32': 'f32', 'bfloat16': 'bf16', 'int8': 'f32'}


class OpenVINO:
    """OpenVINO on the CPU.

    Args:
        precision: ``float32``, ``bfloat16`` or ``int8``.
        threads: Number of CPU threads.

    Raises:
        BackendError: The CPU does not support bfloat16, or nncf is not installed.
    """

    name = NAME

    def __init__(self, precision: str = FLOAT32, threads: int = 1):
        openvino = silent_imports.load('openvino')
        self._core, self.threads, self.precision = openvino.Core(), threads, precision
        self.versions = {NAME: openvino.__version__}
        self.fits = machine.cpu()
        if precision == 'bfloat16':
            able = self._core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
            if 'BF16' not in able:
                raise BackendError(
                    '--precision bfloat16: this CPU has neither AVX512-BF16 nor AMX; use float32 '
                    'or int8'
                )
        elif precision == 'int8':
            try:
                self.versions['nncf'] = metadata.version('nncf')
            except metadata.PackageNotFoundError as error:
                raise BackendError(
                    f'--precision int8: the package nncf is not installed: {INSTALL_NNCF}'
                ) from error

    def __str__(self):
        return f'{NAME} {self.versions[NAME].split("-")[0]} on the CPU, {_count(self.threads)}'

    def exact(self) -> 'OpenVINO':
        """Return the same runtime in float32."""
        return self if self.precision == FLOAT32 else OpenVINO(FLOAT32, self.threads)

    def compile(self, onnx: bytes, inputs: Sequence[np.ndarray] | None) -> 'OpenVINOModel':
        """Compile the content of an ONNX file; int8 takes its value ranges from ``inputs``."""
        try:
            model = self._core.read_model(io.BytesIO(onnx))
            if self.precision == 'int8':
                model = _quantized(model, inputs)
            return OpenVINOModel(self._core.compile_model(model, 'CPU', self._options()))
        except RuntimeError as error:
            raise as_backend_error(
                error, f'{NAME} does not support this network', _reason(error)
            ) from error

    def load(self, payload: bytes) -> 'OpenVINOModel':
        """Restore a model from its :meth:`OpenVINOModel.payload`."""
        try:
            return OpenVINOModel(
                self._core.import_model(io.BytesIO(payload), 'CPU', self._options())
            )
        except RuntimeError as error:
            raise as_backend_error(
                error, f'{NAME} cannot load the cached model', _reason(error)
            ) from error

    def _options(self) -> dict:
        return {
            'INFERENCE_PRECISION_HINT': HINTS[self.precision],
            'INFERENCE_NUM_THREADS': self.threads,
            'PERFORMANCE_HINT': 'LATENCY',
            # With pinning, all processes of a machine would share its first cores.
            'ENABLE_CPU_PINNING': False,
        }


class OpenVINOModel:
    """A compiled network for one input shape."""

    def __init__(self, compiled: Any):
        self._compiled = compiled
        self._request = compiled.create_infer_request()

    def run(self, x: np.ndarray) -> np.ndarray:
        """Return the logits of ``x``; raise ``MemoryError`` or ``BackendError``."""
        try:
            return self._request.infer([x])[0]
        except RuntimeError as error:
            raise inference_error(error, NAME, x.shape, _reason(error)) from error

    def payload(self) -> bytes:
        """Return the compiled network, which only this OpenVINO version and CPU model can load."""
        return self._compiled.export_model().getvalue()


def _quantized(model: Any, inputs: Sequence[np.ndarray] | None) -> Any:
    """Quantize a model to 8 bits, with NNCF's output suppressed."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        nncf = silent_imports.load('nncf')
        return nncf.quantize(model, nncf.Dataset(inputs), subset_size=len(inputs or ()))


def _reason(error: RuntimeError) -> str:
    """Return the last line of a message; earlier lines locate the error in OpenVINO's source."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def _count(threads: int) -> str:
    return 'one thread' if threads == 1 else f'{threads} threads'


def _make(request: RuntimeRequest) -> OpenVINO:
    return OpenVINO(request.precision, request.threads)


register(Registration(NAME, PACKAGES, INSTALL, _make, precisions=tuple(HINTS), on_cpu=10))
