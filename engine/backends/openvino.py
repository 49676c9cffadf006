"""OpenVINO as a backend on CPUs: float32, bfloat16 where supported, and 8 bits by NNCF."""

import hashlib
import io
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib import metadata
from pathlib import Path
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
METADATA_KEY = ['nnseg', 'metadata']  # where a model's runtime information has our facts, as JSON
WEIGHTS_DIGEST = 'bin_sha256'  # the fact that tells whether a .bin file belongs to its .xml file


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
        with _as_unsupported():
            return self._compiled(self._read(onnx, inputs))

    def compile_files(self, xml: bytes, weights: bytes) -> 'OpenVINOModel':
        """Compile the contents of an .xml and a .bin file, whose precision is their own."""
        with _as_unsupported():
            return self._compiled(self._core.read_model(xml, weights))

    def convert(
        self, onnx: bytes, inputs: Sequence[np.ndarray] | None, facts: Mapping[str, Any]
    ) -> tuple[bytes, bytes]:
        """Return the contents of the .xml and the .bin file of a network.

        Args:
            onnx: The content of the ONNX file.
            inputs: Inputs from which int8 takes its value ranges.
            facts: Facts to store in the .xml file.

        Raises:
            BackendError: OpenVINO does not support the network.
        """
        openvino = silent_imports.load('openvino')
        with _as_unsupported(), tempfile.TemporaryDirectory() as folder:
            model = self._read(onnx, inputs)
            xml, weights = Path(folder, 'network.xml'), Path(folder, 'network.bin')
            openvino.save_model(model, xml, compress_to_fp16=False)
            digest = hashlib.sha256(weights.read_bytes()).hexdigest()
            model.set_rt_info(json.dumps({**facts, WEIGHTS_DIGEST: digest}), METADATA_KEY)
            openvino.save_model(model, xml, compress_to_fp16=False)
            return xml.read_bytes(), weights.read_bytes()

    def _read(self, onnx: bytes, inputs: Sequence[np.ndarray] | None) -> Any:
        """Return the model of an ONNX file, in 8 bits if this is the precision."""
        model = self._core.read_model(io.BytesIO(onnx))
        return _quantized(model, inputs) if self.precision == 'int8' else model

    def _compiled(self, model: Any) -> 'OpenVINOModel':
        return OpenVINOModel(self._core.compile_model(model, 'CPU', self._options()))

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
        return self.run_all(x)[0]

    def run_all(self, x: np.ndarray) -> list[np.ndarray]:
        """Return all outputs for ``x``; raise ``MemoryError`` or ``BackendError``."""
        try:
            results = self._request.infer([x])
            return [results[index] for index in range(len(results))]
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


@contextmanager
def _as_unsupported() -> Iterator[None]:
    """Translate OpenVINO's errors about a model."""
    try:
        yield
    except RuntimeError as error:
        raise as_backend_error(
            error, f'{NAME} does not support this network', _reason(error)
        ) from error


def _reason(error: RuntimeError) -> str:
    """Return the last line of a message; earlier lines locate the error in OpenVINO's source."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def _count(threads: int) -> str:
    return 'one thread' if threads == 1 else f'{threads} threads'


def _make(request: RuntimeRequest) -> OpenVINO:
    return OpenVINO(request.precision, request.threads)


register(Registration(NAME, PACKAGES, INSTALL, _make, precisions=tuple(HINTS), on_cpu=10))
