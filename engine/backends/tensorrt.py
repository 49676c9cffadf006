"""TensorRT as a backend, through ONNX Runtime, which builds its engines."""

import io
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine.backends import onnxruntime
from engine.backends.errors import BackendError
from engine.backends.onnxruntime import ONNXRuntime, OnnxRuntimeModel
from engine.backends.registry import Registration, RuntimeRequest, register

NAME = 'tensorrt'
PACKAGES = ('tensorrt', *onnxruntime.PACKAGES)
INSTALL = f'python -m pip install tensorrt onnxruntime-gpu, {onnxruntime.WITHOUT_CPU_PACKAGE}'
PROVIDER = 'TensorrtExecutionProvider'
_ONNX = 'model.onnx'  # member of a payload; the others are engines


class TensorRT(ONNXRuntime):
    """TensorRT on a GPU, in float32.

    Building an engine takes minutes. ONNX Runtime writes engines into a folder and reads them
    unchecked, so a model has a temporary folder of its own, and its payload contains the engines.

    Args:
        device: Number of the GPU.
        threads: Number of CPU threads for the operators that run on the CPU.

    Raises:
        BackendError: The installed onnxruntime does not support TensorRT or the GPU.
    """

    name = NAME

    def __init__(self, device: int, threads: int = 1):
        import tensorrt

        super().__init__(threads, device)
        self.versions[NAME] = tensorrt.__version__

    def _on_gpu(self, device: int) -> list:
        self._require(PROVIDER)
        return [(PROVIDER, {'device_id': device}), *super()._on_gpu(device)]

    def compile(self, onnx: bytes, inputs: Sequence[np.ndarray] | None) -> 'TensorRTModel':
        """Create a session for the content of an ONNX file; ``inputs`` are unused."""
        return self._with_engines(onnx, {})

    def load(self, payload: bytes) -> 'TensorRTModel':
        """Restore a model from its :meth:`TensorRTModel.payload`; raise ``BackendError``."""
        try:
            with zipfile.ZipFile(io.BytesIO(payload)) as archive:
                members = {name: archive.read(name) for name in archive.namelist()}
            return self._with_engines(members.pop(_ONNX), members)
        except (zipfile.BadZipFile, KeyError, OSError, RuntimeError, zlib.error) as error:
            raise BackendError(f'{NAME} cannot load the cached model ({error})') from error

    def _with_engines(self, onnx: bytes, engines: Mapping[str, bytes]) -> 'TensorRTModel':
        folder = tempfile.TemporaryDirectory()
        for name, content in engines.items():
            Path(folder.name, Path(name).name).write_bytes(content)
        caching = {'trt_engine_cache_enable': True, 'trt_engine_cache_path': folder.name}
        (provider, options), *others = self._providers
        session = self._session(onnx, [(provider, {**options, **caching}), *others])
        return TensorRTModel(session, onnx, folder)


class TensorRTModel(OnnxRuntimeModel):
    """A session of ONNX Runtime with the folder of its engines."""

    def __init__(self, session: Any, onnx: bytes, folder: tempfile.TemporaryDirectory):
        super().__init__(NAME, session, onnx)
        self._folder = folder

    def payload(self) -> bytes:
        """Return the ONNX file and the engines that have been built for it, as a zip archive."""
        content = io.BytesIO()
        with zipfile.ZipFile(content, 'w') as archive:
            archive.writestr(zipfile.ZipInfo(_ONNX), self._onnx)
            for path in sorted(Path(self._folder.name).iterdir()):
                archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes())
        return content.getvalue()


def _make(request: RuntimeRequest) -> TensorRT:
    if request.gpu is None:
        reason = request.choice.reason or '-c cpu is set'
        raise BackendError(f'--backend {NAME}: needs a GPU ({reason})')
    return TensorRT(request.gpu, request.threads)


# No other runtime here has a rank on GPUs, because none is faster than NNabla there.
register(Registration(NAME, PACKAGES, INSTALL, _make, on_gpu=10))
