"""OpenVINO on CPUs; bfloat16 where they have it, and 8 bits by NNCF."""

import io
import os
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib import metadata
from typing import Any

import numpy as np

from common import machine
from engine.backends.base import FLOAT32
from engine.backends.errors import BackendError, as_backend_error, inference_error
from engine.backends.registry import Registration, RuntimeRequest, register

NAME = 'openvino'
PACKAGES = ('openvino', 'onnx')
INSTALL = 'python -m pip install -r requirements.txt'
INSTALL_NNCF = 'python -m pip install -r requirements-deploy.txt'
HINTS = {'float32': 'f32', 'bfloat16': 'bf16', 'int8': 'f32'}
NO_TELEMETRY = 'NNCF_CI'  # environment: with it NNCF reports nothing of its use to its makers


class OpenVINO:
    """Models on the CPU with a number of threads; raises ``BackendError``."""

    name = NAME

    def __init__(self, precision: str = FLOAT32, threads: int = 1):
        import openvino

        self._core, self.threads, self.precision = openvino.Core(), threads, precision
        self.versions = {NAME: openvino.__version__}
        self.fits = machine.cpu()
        if precision == 'bfloat16':
            able = self._core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
            if 'BF16' not in able:
                raise BackendError(
                    '--precision bfloat16: this CPU has neither AVX512-BF16 nor AMX; it has '
                    'float32 and int8'
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
        """The same in float32."""
        return self if self.precision == FLOAT32 else OpenVINO(FLOAT32, self.threads)

    def compile(self, onnx: bytes, inputs: Sequence[np.ndarray] | None) -> 'OpenVINOModel':
        """A model from ONNX; inputs: those that 8-bit ranges are found on."""
        try:
            model = self._core.read_model(io.BytesIO(onnx))
            if self.precision == 'int8':
                model = _quantized(model, inputs)
            return OpenVINOModel(self._core.compile_model(model, 'CPU', self._options()))
        except RuntimeError as error:
            raise as_backend_error(
                error, f'{NAME} takes no such network', _reason(error)
            ) from error

    def load(self, payload: bytes) -> 'OpenVINOModel':
        """A model from what :meth:`OpenVINOModel.payload` has returned."""
        try:
            return OpenVINOModel(
                self._core.import_model(io.BytesIO(payload), 'CPU', self._options())
            )
        except RuntimeError as error:
            raise as_backend_error(
                error, f'{NAME} cannot load what is kept', _reason(error)
            ) from error

    def _options(self) -> dict:
        return {
            'INFERENCE_PRECISION_HINT': HINTS[self.precision],
            'INFERENCE_NUM_THREADS': self.threads,
            'PERFORMANCE_HINT': 'LATENCY',
            # Processes that share a machine would all be bound to its first cores.
            'ENABLE_CPU_PINNING': False,
        }


class OpenVINOModel:
    """A compiled network for one shape."""

    def __init__(self, compiled: Any):
        self._compiled = compiled
        self._request = compiled.create_infer_request()

    def run(self, x: np.ndarray) -> np.ndarray:
        """The maps of ``x``; raises ``MemoryError``, ``BackendError``."""
        try:
            return self._request.infer([x])[0]
        except RuntimeError as error:
            raise inference_error(error, NAME, x.shape, _reason(error)) from error

    def payload(self) -> bytes:
        """The compiled network, for this version on this kind of CPU."""
        return self._compiled.export_model().getvalue()


def _quantized(model: Any, inputs: Sequence[np.ndarray] | None) -> Any:
    """``model`` in 8 bits; NNCF is told to be silent."""
    os.environ.setdefault(NO_TELEMETRY, '1')
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        import nncf

        return nncf.quantize(model, nncf.Dataset(inputs), subset_size=len(inputs or ()))


def _reason(error: RuntimeError) -> str:
    """The last line; those before say where in the source it was found."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def _count(threads: int) -> str:
    return 'one thread' if threads == 1 else f'{threads} threads'


def _make(request: RuntimeRequest) -> OpenVINO:
    return OpenVINO(request.precision, request.threads)


register(Registration(NAME, PACKAGES, INSTALL, _make, precisions=tuple(HINTS), on_cpu=10))
