"""ONNX Runtime: on CPUs, and on NVIDIA's GPUs with the package onnxruntime-gpu."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from common import machine
from engine.backends.base import FLOAT32
from engine.backends.errors import BackendError, as_backend_error, inference_error
from engine.backends.registry import Registration, RuntimeRequest, register

NAME = 'onnxruntime'
PACKAGES = ('onnxruntime', 'onnx')
INSTALL = 'python -m pip install -r requirements.txt'
# Two packages that write over each other: both are the module onnxruntime.
WITHOUT_CPU_PACKAGE = 'after python -m pip uninstall -y onnxruntime'
INSTALL_GPU = f'python -m pip install onnxruntime-gpu, {WITHOUT_CPU_PACKAGE}'
QUIET = 3  # errors only
CPU = 'CPUExecutionProvider'
# The GPU's float32 is to be float32: without this, products are rounded to 10 bits.
CUDA = ('CUDAExecutionProvider', {'use_tf32': 0})


class ONNXRuntime:
    """Models on the CPU with a number of threads, or on a GPU; raises ``BackendError``.

    What is kept of a model is its ONNX file, which fits any machine; on a GPU it was compared with
    NNabla there, so it is kept for that GPU alone.
    """

    name, precision = NAME, FLOAT32

    def __init__(self, threads: int = 1, device: int | None = None):
        import onnxruntime

        self._runtime, self.threads = onnxruntime, threads
        self.versions = {NAME: onnxruntime.__version__}
        self._providers = [CPU] if device is None else self._on_gpu(device)
        self.fits = 'any' if device is None else f'{device} of {machine.describe()["GPU"]}'

    def _on_gpu(self, device: int) -> list:
        name, options = CUDA
        self._require(name)
        return [(name, options | {'device_id': device}), CPU]

    def _require(self, provider: str) -> None:
        if provider not in self._runtime.get_available_providers():
            raise BackendError(
                f'--backend {self.name}: the installed onnxruntime has no {provider}: '
                f'{INSTALL_GPU}, or take -c cpu'
            )

    def __str__(self):
        threads = 'one thread' if self.threads == 1 else f'{self.threads} threads'
        where = f'the CPU, {threads}' if self._providers == [CPU] else 'the GPU'
        return f'{self.name} {self.versions[NAME]} on {where}'

    def exact(self) -> 'ONNXRuntime':
        """The same in float32."""
        return self

    def compile(self, onnx: bytes, inputs: Sequence[np.ndarray] | None) -> 'OnnxRuntimeModel':
        """A model from ONNX."""
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = self.threads, QUIET
        try:
            session = self._runtime.InferenceSession(onnx, options, providers=self._providers)
        except Exception as error:  # its errors have no other class in common
            raise as_backend_error(
                error, f'{self.name} takes no such network', str(error)
            ) from error
        first = self._providers[0]
        wanted = first if isinstance(first, str) else first[0]
        if session.get_providers()[0] != wanted:  # it goes on with the next one by itself
            raise BackendError(f'{self.name}: {wanted} cannot be started here')
        return OnnxRuntimeModel(self.name, session, onnx)

    def load(self, payload: bytes) -> 'OnnxRuntimeModel':
        """A model from what :meth:`OnnxRuntimeModel.payload` has returned."""
        return self.compile(payload, None)


class OnnxRuntimeModel:
    """A network for one shape."""

    def __init__(self, name: str, session: Any, onnx: bytes):
        self._name, self._session, self._onnx = name, session, onnx
        self._input = session.get_inputs()[0].name

    def run(self, x: np.ndarray) -> np.ndarray:
        """The maps of ``x``; raises ``MemoryError``, ``BackendError``."""
        try:
            return self._session.run(None, {self._input: x})[0]
        except Exception as error:  # its errors have no other class in common
            raise inference_error(error, self._name, x.shape, str(error)) from error

    def payload(self) -> bytes:
        """The ONNX file."""
        return self._onnx


def _make(request: RuntimeRequest) -> ONNXRuntime:
    return ONNXRuntime(request.threads, request.gpu)


register(Registration(NAME, PACKAGES, INSTALL, _make, on_cpu=20))
