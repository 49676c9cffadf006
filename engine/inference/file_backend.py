"""Run an exported file as the backend of a predictor."""

from importlib.util import find_spec

import numpy as np

from common import machine
from common.errors import UserError
from common.log import LOG
from common.tasks import CLASSES, Task
from engine.backends import registry, select
from engine.backends.base import AUTO, FLOAT32, NNABLA
from engine.backends.errors import BackendError
from engine.backends.onnxruntime import OnnxRuntimeModel
from engine.backends.openvino import OpenVINO, OpenVINOModel
from engine.backends.registry import RuntimeRequest
from engine.backends.settings import BackendSettings
from engine.device.context import DeviceChoice
from engine.inference.exported_file import ExportedFile

FileModel = OnnxRuntimeModel | OpenVINOModel  # which can have several outputs
BACKENDS = {True: ('openvino', 'onnxruntime'), False: ('openvino',)}  # of ONNX, of OpenVINO's files
SMALLEST_PROBABILITY = np.finfo(np.float32).tiny


class FileBackend:
    """A backend that runs an exported file; its results take the place of the network's logits.

    The logarithm of probabilities differs from logits by a number for each pixel, which changes no
    label and no probability, also after a resize. Labels become 1 for the class and 0 for others.

    Args:
        file: The file.
        settings: Backend, precision and threads.
        choice: Device on which ONNX Runtime runs it.

    Attributes:
        used: Name of the runtime.
        threads: Number of its CPU threads.
        precision: Numbers that it computes in.

    Raises:
        UserError: The backend cannot run such a file, or is not installed.
    """

    def __init__(self, file: ExportedFile, settings: BackendSettings, choice: DeviceChoice):
        self._file, self.threads = file, machine.threads(settings.threads)
        self._model, name = _compiled(file, settings, choice)
        self.used = frozenset({name})
        self.precision = (
            settings.precision if settings.precision != FLOAT32 else file.facts['precision']
        )

    def reserve(self, shapes: int) -> None:
        """Do nothing: the file is compiled once."""

    def close(self) -> None:
        """Do nothing: the compiled file stays."""

    def run(self, x: np.ndarray) -> np.ndarray:
        """Return the scores of a view, (1, channels, h, w) float32, of all tasks.

        Args:
            x: (1, 3k, H, W) float32, normalised: the k pictures of a scene.

        Raises:
            BackendError: The runtime fails, or the result is not what the metadata says.
            MemoryError: The memory does not suffice.
        """
        inputs = np.repeat(self._pixels(x), self._file.batch or 1, axis=0)
        tasks, results = self._file.info.tasks, self._model.run_all(inputs)
        if len(results) != len(tasks):
            raise BackendError(
                f'{self._file.path}: has {len(results)} outputs, which is not what its metadata '
                'says; export it again'
            )
        scores = [
            self._scores(result[:1], x.shape[2:], task) for task, result in zip(tasks, results)
        ]
        return scores[0] if len(scores) == 1 else np.concatenate(scores, axis=1)

    def _pixels(self, x: np.ndarray) -> np.ndarray:
        """Undo the normalisation for a file that normalises by itself."""
        facts = self._file.facts
        if facts['input'] == 'normalised':
            return x
        count = self._file.info.inputs
        mean, std = (
            np.tile(np.array(facts[key], np.float32), count)[:, None, None]
            for key in ('mean', 'std')
        )
        pixels = x * std + mean
        if facts['input'] != 'uint8':
            return pixels
        return np.rint(pixels).clip(0, 255).astype(np.uint8)  # scaled flow can be beyond

    def _scores(self, result: np.ndarray, size: tuple[int, ...], task: Task) -> np.ndarray:
        count, kind = task.channels, self._file.facts['output']
        if task.kind == CLASSES and kind == 'labels':
            fits = result.shape == (1, *size) and result.dtype.kind in 'iu'
            if not fits or result.max() >= count or result.min() < 0:
                raise self._odd(result)
            return (result[:, None] == np.arange(count)[:, None, None]).astype(np.float32)
        fits = result.ndim == 4 and result.shape[:2] == (1, count) and result.dtype == np.float32
        if not fits or (kind != 'maps' and result.shape[2:] != tuple(size)) or not result.size:
            raise self._odd(result)
        if task.kind == CLASSES and kind == 'probabilities':
            return np.log(np.maximum(result, SMALLEST_PROBABILITY))
        return result

    def _odd(self, result: np.ndarray) -> BackendError:
        shape = 'x'.join(map(str, result.shape))
        return BackendError(
            f'{self._file.path}: its result, {result.dtype} of {shape}, is not what its metadata '
            'says; export it again'
        )


def _compiled(
    file: ExportedFile, settings: BackendSettings, choice: DeviceChoice
) -> tuple[FileModel, str]:
    """Compile a file with the chosen backend, or with the first that is able; return its name."""
    path = file.path
    names, advice = BACKENDS[file.is_onnx], f'leave --backend out, which runs {path.name}'
    if settings.backend == NNABLA:
        raise UserError(
            f'--backend {NNABLA}: NNabla cannot run {path}, an exported graph; {advice} in '
            f'{" or ".join(names)}, or pass the .h5 with -m'
        )
    if settings.backend not in (AUTO, *names):
        raise UserError(
            f'--backend {settings.backend}: cannot run {path}; {advice} in {" or ".join(names)}'
        )
    own = file.facts['precision']
    if settings.precision != FLOAT32 and 'int8' in (settings.precision, own):
        other = ', or write an int8 file with --precision int8 of python -m engine.export'
        raise UserError(
            f'--precision {settings.precision}: {path} computes in {own} as it was exported; leave '
            f'the option out{other * (own == FLOAT32)}'
        )
    if settings.precision != FLOAT32:
        names = tuple(n for n in names if settings.precision in _entry(n).precisions)
    if settings.backend != AUTO:
        if settings.backend not in names:
            raise UserError(
                f'--precision {settings.precision}: only --backend {" or ".join(names)} supports it'
            )
        names = (settings.backend,)
    problems = []
    for name in names:
        try:
            return _compile(name, file, settings, choice), name
        except BackendError as error:
            problems.append(error.what)
    raise UserError(f'{path}: cannot be run; {"; ".join(problems)}')


def _entry(name: str) -> registry.Registration:
    return registry.registered()[name]


def _compile(
    name: str, file: ExportedFile, settings: BackendSettings, choice: DeviceChoice
) -> FileModel:
    """Compile a file with one backend; raise ``BackendError`` if that fails."""
    entry = _entry(name)
    if find_spec(name) is None:
        raise BackendError(f'{name} is not installed: {entry.install}')
    request = RuntimeRequest(settings.precision, machine.threads(settings.threads), choice)
    runtime = select.make_runtime(entry, request)
    if file.is_onnx:
        model = runtime.compile(file.content, None)
    else:
        assert isinstance(runtime, OpenVINO)
        model = runtime.compile_files(file.content, file.weights or b'')
    LOG.info('%s: %s', file.path, runtime)
    assert isinstance(model, FileModel)
    return model
