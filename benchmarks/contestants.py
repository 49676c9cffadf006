"""The processes that take part in a benchmark of inference."""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import pipeline, plain
from benchmarks.peer import FORMS, Peer
from benchmarks.pipeline import NATIVE, PipelineTask
from benchmarks.process import Process
from common.errors import UserError
from common.machine import gpu_memory_mib
from models import Network

TOLERANCE = 1e-4  # of the largest logit, between two backends in float32


@dataclass(frozen=True)
class InferenceContestant:
    """How a contestant runs a network. backend: one of ours, ``plain``, or a form of PyTorch."""

    backend: str
    precision: str

    def __str__(self):
        prefix = 'nnabla ' if self.backend == plain.NAME else 'pytorch ' if self.is_peer else ''
        return f'{prefix}{self.backend} {self.precision}'

    @property
    def is_peer(self) -> bool:
        """Whether PyTorch computes."""
        return self.backend in FORMS

    @property
    def is_reference(self) -> bool:
        """Whether the logits of all others must be its own."""
        return self.backend in NATIVE and self.precision == 'float32'


@dataclass(frozen=True)
class PeerOptions:
    """What PyTorch runs in. mode: of torch.compile."""

    python: str
    mode: str


class Own:
    """The process of a backend that runs in this Python. facts: the backends that are used."""

    def __init__(self, name: str, task: PipelineTask, way: InferenceContestant, kept: Path):
        self._name, self._process, self._peak = name, Process(name), 0.0
        self.facts: dict[str, str] = {}
        self._backend = way.backend
        try:
            self._process.ask(pipeline.start, task, way.backend, way.precision, kept)
        except BaseException:
            self.close()
            raise

    def logits(self) -> np.ndarray:
        logits, used = self._process.ask(pipeline.first_logits)
        if used != self._backend:
            self.facts = {self._name: used}
        return logits

    def turn(self, least_seconds: float) -> tuple[float, float]:
        device, whole, self._peak = self._process.ask(pipeline.turn, least_seconds)
        return device, whole

    def memory(self) -> float:
        return self._peak

    def close(self):
        self._process.close()


class Contestants:
    """The processes of all ways to run a network, and what was measured when they started.

    facts: by name, what is used and what is left out, and why.
    """

    def __init__(
        self, task: PipelineTask, network: Network, peer: PeerOptions | None, folder: Path
    ):
        self._task, self._network, self._folder = task, network, folder
        self._peer, self._stack = peer, ExitStack()
        self.running: dict[str, Own | Peer] = {}
        self.details: dict[str, dict[str, float | None]] = {}
        self.facts: dict[str, str] = {}

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._stack.close()

    def start(self, way: InferenceContestant, reference: np.ndarray | None) -> np.ndarray | None:
        """The first logits; None when it cannot run here.

        Raises ``UserError`` when they are not those of ``reference``.
        """
        name = str(way)
        kept = self._folder / name.replace(' ', '-')  # for what its backend keeps
        before = gpu_memory_mib(self._task.device) if self._task.context != 'cpu' else 0.0
        try:
            contestant, logits, seconds = self._launch(way, kept)
            again = None
            if kept.is_dir():
                contestant.close()
                contestant, logits, again = self._launch(way, kept)
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

    def _launch(self, way: InferenceContestant, kept: Path):
        """A contestant, its first logits, and the seconds to them."""
        started, name = time.perf_counter(), str(way)
        contestant: Own | Peer
        if way.is_peer:
            assert self._peer is not None  # no way is a peer's without
            contestant = Peer(
                name, self._peer.python, self._folder, kept, self._network.info, self._task,
                way.precision, FORMS[way.backend], self._peer.mode,
            )  # fmt: skip
        else:
            contestant = Own(name, self._task, way, kept)
        try:
            return contestant, contestant.logits(), time.perf_counter() - started
        except BaseException:
            contestant.close()
            raise


def difference(way: InferenceContestant, logits: np.ndarray, reference: np.ndarray) -> float:
    """As a share of the largest logit; raises ``UserError`` where it may not be that large."""
    share = float(np.abs(logits - reference).max() / np.abs(reference).max())
    if way.precision == 'float32' and not share <= TOLERANCE:
        raise UserError(
            f'{way}: its logits differ from those of NNabla by {share:.1e} of the largest, so '
            'its time would say nothing'
        )
    return share
