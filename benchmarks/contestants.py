"""The contestants of the inference benchmark, each in a process of its own."""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import pipeline, plain
from benchmarks.peer import FORMS, InferencePeer
from benchmarks.pipeline import NATIVE, PipelineTask
from benchmarks.worker_process import WorkerProcess
from common.errors import UserError
from common.machine import gpu_memory_mib
from models import Network

LOGITS_TOLERANCE = 1e-4  # maximum difference of float32 logits, relative to the largest logit


@dataclass(frozen=True)
class InferenceContestant:
    """How a contestant runs a network.

    Attributes:
        backend: Name of a backend, ``plain``, or a form of PyTorch.
        precision: ``float32``, ``float16``, ``bfloat16`` or ``int8``.
    """

    backend: str
    precision: str

    def __str__(self):
        prefix = 'nnabla ' if self.backend == plain.NAME else 'pytorch ' if self.is_peer else ''
        return f'{prefix}{self.backend} {self.precision}'

    @property
    def is_peer(self) -> bool:
        """Whether PyTorch runs the network."""
        return self.backend in FORMS

    @property
    def is_reference(self) -> bool:
        """Whether the logits of the others can be compared with those of this contestant."""
        return self.backend in NATIVE and self.precision == 'float32'


@dataclass(frozen=True)
class PeerOptions:
    """Options of all PyTorch contestants.

    Attributes:
        python: A Python with torch and numpy.
        mode: Mode of torch.compile.
    """

    python: str
    mode: str


class BackendContestant:
    """A worker process that runs one of the project's backends.

    Args:
        name: Name of the contestant.
        task: Network, image and device.
        way: Backend and precision.
        cache_folder: Folder for compiled models.

    Attributes:
        facts: The backends in use by the name of the contestant, if another one was requested.
    """

    def __init__(self, name: str, task: PipelineTask, way: InferenceContestant, cache_folder: Path):
        self._name, self._process, self._peak = name, WorkerProcess(name), 0.0
        self.facts: dict[str, str] = {}
        self._backend = way.backend
        try:
            self._process.call(
                pipeline.start_pipeline, task, way.backend, way.precision, cache_folder
            )
        except BaseException:
            self.close()
            raise

    def logits(self) -> np.ndarray:
        """Return the logits (1, num_classes, h, w) of the task's input."""
        logits, used = self._process.call(pipeline.first_logits)
        if used != self._backend:
            self.facts = {self._name: used}
        return logits

    def turn(self, min_seconds: float) -> tuple[float, float]:
        """Run for ``min_seconds``; return the median seconds from input to logits, file to file."""
        device, whole, self._peak = self._process.call(pipeline.time_runs, min_seconds)
        return device, whole

    def memory(self) -> float:
        """Return the peak resident memory of the process so far, in MiB."""
        return self._peak

    def close(self):
        """End the process."""
        self._process.close()


class Contestants:
    """The running contestants of one network; a context manager that ends their processes.

    Args:
        task: Network, image and device of all contestants.
        network: The network, for its normalisation.
        peer: Options of the PyTorch contestants; None without any.
        folder: Folder of the graph's files and the caches.

    Attributes:
        running: Processes by the name of the contestant.
        details: Start-up time, difference and memory of each contestant.
        facts: The backends in use, and the excluded contestants with the reason.
    """

    def __init__(
        self, task: PipelineTask, network: Network, peer: PeerOptions | None, folder: Path
    ):
        self._task, self._network, self._folder = task, network, folder
        self._peer, self._stack = peer, ExitStack()
        self.running: dict[str, BackendContestant | InferencePeer] = {}
        self.details: dict[str, dict[str, float | None]] = {}
        self.facts: dict[str, str] = {}

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._stack.close()

    def start(self, way: InferenceContestant, reference: np.ndarray | None) -> np.ndarray | None:
        """Start a contestant and return its first logits; None when it cannot run here.

        Args:
            way: The contestant.
            reference: Logits to compare with; None if the contestant itself is the reference.

        Raises:
            UserError: The logits differ from the reference.
        """
        name = str(way)
        cache_folder = self._folder / name.replace(' ', '-')  # compiled models of its backend
        before = gpu_memory_mib(self._task.device) if self._task.context != 'cpu' else 0.0
        try:
            contestant, logits, seconds = self._launch(way, cache_folder)
            again = None
            if cache_folder.is_dir():
                contestant.close()
                contestant, logits, again = self._launch(way, cache_folder)
        except UserError as error:
            self.facts[f'left out, {name}'] = str(error)
            return None
        self._stack.callback(contestant.close)
        self.running[name], self.facts = contestant, self.facts | contestant.facts
        differs = 0.0 if reference is None else difference(way, logits, reference)
        self.details[name] = {'start s': seconds, 'again s': again, 'differs': differs}
        if self._task.context != 'cpu':
            contestant.turn(0)
            self.details[name]['MiB'] = gpu_memory_mib(self._task.device) - before
        return logits

    def _launch(self, way: InferenceContestant, cache_folder: Path):
        """Start a contestant; return it, its first logits, and the seconds until then."""
        started, name = time.perf_counter(), str(way)
        contestant: BackendContestant | InferencePeer
        if way.is_peer:
            assert self._peer is not None  # the command line requires it for these contestants
            contestant = InferencePeer(
                name, self._peer.python, self._folder, cache_folder, self._network.info, self._task,
                way.precision, FORMS[way.backend], self._peer.mode,
            )  # fmt: skip
        else:
            contestant = BackendContestant(name, self._task, way, cache_folder)
        try:
            return contestant, contestant.logits(), time.perf_counter() - started
        except BaseException:
            contestant.close()
            raise


def difference(way: InferenceContestant, logits: np.ndarray, reference: np.ndarray) -> float:
    """Return the largest difference of the logits, relative to the largest logit.

    Args:
        way: The contestant.
        logits: Logits of the contestant.
        reference: Logits of NNabla in float32.

    Raises:
        UserError: A float32 contestant exceeds the tolerance.
    """
    share = float(np.abs(logits - reference).max() / np.abs(reference).max())
    if way.precision == 'float32' and not share <= LOGITS_TOLERANCE:
        raise UserError(
            f'{way}: its logits differ from those of NNabla by {share:.1e} of the largest; the '
            'times are not comparable'
        )
    return share
