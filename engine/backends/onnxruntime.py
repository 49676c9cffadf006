"""ONNX Runtime as a backend: on CPUs, and on NVIDIA GPUs with the package onnxruntime-gpu."""

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
# Both packages install the module onnxruntime and overwrite each other.
WITHOUT_CPU_PACKAGE = 'after python -m pip uninstall -y onnxruntime'
INSTALL_GPU = f'python -m pip install onnxruntime-gpu, {WITHOUT_CPU_PACKAGE}'
ERRORS_ONLY = 3  # ONNX Runtime's log severity level
CPU = 'CPUExecutionProvider'
# With TF32, which is on by default, the GPU rounds the factors of products to 10 bits.
CUDA = ('CUDAExecutionProvider', {'use_tf32': 0})


class ONNXRuntime:
    """ONNX Runtime on the CPU or on a GPU.

    The payload of a model is its ONNX file, which works on any machine. A payload made on a GPU is
    loaded on that GPU only, because it was compared with NNabla there.

    Args:
        threads: Number of CPU threads.
        device: Number of the GPU; None for the CPU.

    Raises:
        BackendError: The installed onnxruntime does not support the GPU.
    """

    name, precision = NAME, FLOAT32

    def __init__(self, threads: int = 1, device: int | None = None):
        import onnxruntime

        self._runtime, self.threads = onnxruntime, threads
        self.versions = {NAME: onnxruntime.__version__}
        self._providers: list = [CPU] if device is None else self._on_gpu(device)
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
        """Return the runtime itself, which computes in float32."""
        return self

    def compile(self, onnx: bytes, inputs: Sequence[np.ndarray] | None) -> 'OnnxRuntimeModel':
        """Create a session for the content of an ONNX file; ``inputs`` are unused."""
        return OnnxRuntimeModel(self.name, self._session(onnx, self._providers), onnx)

    def _session(self, onnx: bytes, providers: list) -> Any:
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = self.threads, ERRORS_ONLY
        try:
            session = self._runtime.InferenceSession(onnx, options, providers=providers)
        except Exception as error:  # ONNX Runtime's errors share no other base class
            raise as_backend_error(
                error, f'{self.name} does not support this network', str(error)
            ) from error
        first = providers[0]
        wanted = first if isinstance(first, str) else first[0]
        if session.get_providers()[0] != wanted:  # ONNX Runtime falls back silently
            raise BackendError(f'{self.name}: {wanted} cannot be started on this machine')
        return session

    def load(self, payload: bytes) -> 'OnnxRuntimeModel':
        """Restore a model from its :meth:`OnnxRuntimeModel.payload`."""
        return self.compile(payload, None)


class OnnxRuntimeModel:
    """A session of ONNX Runtime for one input shape."""

    def __init__(self, name: str, session: Any, onnx: bytes):
        self._name, self._session, self._onnx = name, session, onnx
        self._input = session.get_inputs()[0].name

    def run(self, x: np.ndarray) -> np.ndarray:
        """Return the logits of ``x``; raise ``MemoryError`` or ``BackendError``."""
        return self.run_all(x)[0]

    def run_all(self, x: np.ndarray) -> list[np.ndarray]:
        """Return all outputs for ``x``; raise ``MemoryError`` or ``BackendError``."""
        try:
            return self._session.run(None, {self._input: x})
        except Exception as error:  # ONNX Runtime's errors share no other base class
            raise inference_error(error, self._name, x.shape, str(error)) from error

    def payload(self) -> bytes:
        """Return the content of the ONNX file."""
        return self._onnx


def _make(request: RuntimeRequest) -> ONNXRuntime:
    return ONNXRuntime(request.threads, request.gpu)


register(Registration(NAME, PACKAGES, INSTALL, _make, on_cpu=20))
