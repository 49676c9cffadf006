"""TensorRT as a backend, through ONNX Runtime, which builds and caches its engines."""

from engine.backends import onnxruntime
from engine.backends.errors import BackendError
from engine.backends.registry import Registration, RuntimeRequest, register

NAME = 'tensorrt'
PACKAGES = ('tensorrt', *onnxruntime.PACKAGES)
INSTALL = f'python -m pip install tensorrt onnxruntime-gpu, {onnxruntime.WITHOUT_CPU_PACKAGE}'
PROVIDER = 'TensorrtExecutionProvider'


class TensorRT(onnxruntime.ONNXRuntime):
    """TensorRT on a GPU, in float32.

    Args:
        device: Number of the GPU.
        threads: Number of CPU threads for the operators that run on the CPU.
        folder: Cache folder for engines, which take minutes to build; None to cache nothing.

    Raises:
        BackendError: The installed onnxruntime does not support TensorRT or the GPU.
    """

    name = NAME

    def __init__(self, device: int, threads: int = 1, folder: str | None = None):
        import tensorrt

        self._folder = folder
        super().__init__(threads, device)
        self.versions[NAME] = tensorrt.__version__

    def _on_gpu(self, device: int) -> list:
        self._require(PROVIDER)
        caching = {'trt_engine_cache_enable': True, 'trt_engine_cache_path': self._folder}
        options = {'device_id': device, **(caching if self._folder else {})}
        return [(PROVIDER, options), *super()._on_gpu(device)]


def _make(request: RuntimeRequest) -> TensorRT:
    if request.gpu is None:
        reason = request.choice.reason or '-c cpu is set'
        raise BackendError(f'--backend {NAME}: needs a GPU ({reason})')
    return TensorRT(request.gpu, request.threads, request.folder)


# No other runtime here has a rank on GPUs, because none is faster than NNabla there.
register(Registration(NAME, PACKAGES, INSTALL, _make, on_gpu=10))
