"""TensorRT by way of ONNX Runtime, which builds its engines and keeps them."""

from engine.backends import onnxruntime
from engine.backends.errors import BackendError
from engine.backends.registry import Registration, RuntimeRequest, register

NAME = 'tensorrt'
PACKAGES = ('tensorrt', *onnxruntime.PACKAGES)
INSTALL = f'python -m pip install tensorrt onnxruntime-gpu, {onnxruntime.WITHOUT_CPU_PACKAGE}'
PROVIDER = 'TensorrtExecutionProvider'


class TensorRT(onnxruntime.ONNXRuntime):
    """Models on a GPU, in float32; raises ``BackendError``.

    threads: for what is left to the CPU. folder: where TensorRT keeps what it builds in minutes;
    None: nowhere.
    """

    name = NAME

    def __init__(self, device: int, threads: int = 1, folder: str | None = None):
        import tensorrt

        self._folder = folder
        super().__init__(threads, device)
        self.versions[NAME] = tensorrt.__version__

    def _on_gpu(self, device: int) -> list:
        self._require(PROVIDER)
        kept = {'trt_engine_cache_enable': True, 'trt_engine_cache_path': self._folder}
        options = {'device_id': device, **(kept if self._folder else {})}
        return [(PROVIDER, options), *super()._on_gpu(device)]


def _make(request: RuntimeRequest) -> TensorRT:
    if request.gpu is None:
        reason = request.choice.reason or '-c cpu is given'
        raise BackendError(f'--backend {NAME}: needs a GPU ({reason})')
    return TensorRT(request.gpu, request.threads, request.folder)


# Only where it is installed is an export faster on a GPU than NNabla.
register(Registration(NAME, PACKAGES, INSTALL, _make, on_gpu=10))
