"""Measure a training step under each recompute policy; on a GPU also each precision and layout.

Every contestant is a separate process, and the contestants take turns. A step consists of forward
pass, loss, backward pass and update. A process frees the memory of its activations after every
turn, so every turn begins with an untimed step.
"""

import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nnabla as nn
import numpy as np

import models
from benchmarks import harness, peer
from benchmarks.memory import own_peak_mib
from benchmarks.peer import STEPS_PER_TURN
from benchmarks.worker_process import WorkerProcess
from common import machine
from datasets import Sample
from engine.device import context
from engine.device.context import DeviceChoice
from engine.distributed.communicators import SingleProcessCommunicator
from engine.distributed.processes import Processes
from engine.inference.predictor import Predictor
from engine.training import losses, optimizer
from engine.training.hyperparameters import TrainingKeys, derive_hyperparameters
from engine.training.optimizer import SolverKeys
from engine.training.schedules import ScheduleKeys
from engine.training.trainer import Trainer
from layers.build import RECOMPUTE_POLICIES

MEMORY_ON_CPU = (
    'peak resident memory of the process: {idle:.0f} MiB for Python and its libraries, the rest '
    'for parameters, their gradients and momentum, activations, and workspaces of convolutions'
)
MEMORY_ON_GPU = (
    'used memory by nvidia-smi that the process adds: its CUDA context, parameters, activations, '
    "and NNabla's memory cache"
)


@dataclass(frozen=True)
class TrainingContestant:
    """How a contestant trains.

    Attributes:
        name: Context, ``cpu`` or ``cudnn``.
        recompute: Recompute policy.
        half: Whether the contestant trains in half precision.
        channel_last: Whether maps lie in memory as (N, H, W, C).
        tf32: Whether TF32 is allowed.
    """

    name: str
    recompute: str = 'none'
    half: bool = False
    channel_last: bool = False
    tf32: bool = False


def training_contestants(name: str) -> dict[str, TrainingContestant]:
    """Return the contestants for ``cpu`` or ``cudnn`` by name, the baseline first."""
    found = {policy: TrainingContestant(name, policy) for policy in RECOMPUTE_POLICIES}
    if name == 'cudnn':
        found['half'] = TrainingContestant(name, half=True)
        found['channel_last'] = TrainingContestant(name, channel_last=True)
        found['half, channel_last'] = TrainingContestant(name, half=True, channel_last=True)
        found['TF32'] = TrainingContestant(name, tf32=True)
    return found


def peer_forms(name: str) -> dict[str, tuple[str, bool]]:
    """Return the forms of PyTorch for ``cpu`` or ``cudnn``: (precision, channels_last) by name."""
    layouts = {'contiguous': False, 'channels_last': True}
    found = {f'pytorch {layout}': ('float32', last) for layout, last in layouts.items()}
    if name == 'cudnn':
        found |= {f'pytorch half, {layout}': ('float16', last) for layout, last in layouts.items()}
    return found


def measure_training(
    config: Mapping,
    choice: DeviceChoice,
    size: tuple[int, int],
    batch_size: int,
    rounds: int,
    peer_python: str | None = None,
) -> tuple[list[harness.TimingResult], dict]:
    """Measure times, peak memory and losses of all contestants, with one seeded batch.

    Args:
        config: Config of the network and its training.
        choice: Device of all contestants.
        size: Height and width of the images.
        batch_size: Images per step.
        rounds: Timed turns of each contestant.
        peer_python: A Python with torch and numpy; None to measure without PyTorch.

    Returns:
        The results, the baseline first, and facts for the table.

    Raises:
        UserError: The config cannot train, a process died, or PyTorch's first loss differs.
    """
    config = {**config, 'batch_size': batch_size, 'accumulation': 1}
    compared = training_contestants(choice.name)
    with ExitStack() as stack:
        own: dict[str, _TrainingProcess] = {}
        for name, way in compared.items():
            own[name] = _TrainingProcess(name, way, config, size, choice.device)
            stack.callback(own[name].close)
        contestants: dict[str, _TrainingProcess | peer.TrainingPeer] = {**own}
        first, facts = next(iter(own.values())), {}
        if peer_python:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            training = peer.write_training(config, size, folder)
            for name, form in peer_forms(choice.name).items():
                contestant = peer.TrainingPeer(
                    name, peer_python, folder, config, choice, training, *form
                )
                stack.callback(contestant.close)
                contestant.start(first.losses[0])
                contestants[name], facts = contestant, contestant.facts
        turns = {name: contestant.turn for name, contestant in contestants.items()}
        results = harness.compare_in_turns(turns, rounds, warm_up=0, own_clock=True)
    results = [
        replace(
            result,
            details={
                'MiB': contestants[result.name].peak,
                'of first': contestants[result.name].peak / first.peak,
                'loss': contestants[result.name].losses[-1],
            },
        )
        for result in results
    ]
    facts |= {
        'batch': f'{batch_size} images of {size[0]}x{size[1]}',
        'step': 'forward, loss, backward and update, after an untimed step; no loading',
        'precision': 'float32, except in names with half (PyTorch: autocast and a loss scale)',
        'threads': f'{machine.threads()}; NNabla has one on a CPU',
        'MiB': MEMORY_ON_CPU.format(idle=first.idle) if choice.name == 'cpu' else MEMORY_ON_GPU,
        'loss': _describe_losses({name: contestants[name].losses for name in RECOMPUTE_POLICIES}),
    }
    return results, facts


def _describe_losses(losses: Mapping[str, list[float]]) -> str:
    """State whether the losses of the recompute policies are equal."""
    steps = np.array(list(losses.values()))
    spread = float(np.ptp(steps, axis=0).max())
    same = f'differ by up to {spread:g}' if spread else 'are the same, bit for bit'
    return f'after {steps.shape[1]} steps; those of the recompute policies {same} at every step'


class _TrainingProcess:
    """The worker process of a contestant.

    Args:
        name: Name of the contestant.
        way: How the contestant trains.
        config: Config of the network and its training.
        size: Height and width of the images.
        device: Index of the GPU.

    Attributes:
        losses: Losses of all steps so far.
        peak: Peak memory so far, in MiB.
        idle: Memory before the network was created, in MiB.
    """

    def __init__(
        self,
        name: str,
        way: TrainingContestant,
        config: Mapping,
        size: tuple[int, int],
        device: int,
    ):
        self.losses: list[float] = []
        self._process = WorkerProcess(name, 'try a smaller --size or --batch-size')
        try:
            self.idle = self._process.call(_start_contestant, config, way, size, device)
            self.turn()
        except BaseException:
            self.close()
            raise

    def turn(self) -> float:
        """Train for one turn; return the seconds of its last step."""
        seconds, losses, self.peak = self._process.call(_train_turn)
        self.losses += losses
        return seconds

    def close(self):
        self._process.close()


class _SameBatch:
    """A loader that repeats one seeded batch."""

    samples: tuple[Sample, ...] = ()

    def __init__(self, shape: tuple[int, ...], classes: int):
        self._batch = peer.batch(shape, classes)

    def next(self) -> tuple[np.ndarray, np.ndarray]:
        return self._batch

    def state_dict(self) -> dict[str, Any]:
        return {}


class _ContestantTrainer:
    """The trainer inside a contestant's worker process.

    Args:
        config: Config of the network and its training.
        way: How the contestant trains.
        size: Height and width of the images.
        device: Index of the GPU.
    """

    def __init__(
        self, config: Mapping, way: TrainingContestant, size: tuple[int, int], device: int
    ):
        self._before = machine.gpu_memory_mib(device) if way.name == 'cudnn' else 0.0
        type_config = 'half' if way.half else 'float'
        self._choice = context.use(way.name, type_config, device, tf32=way.tf32)
        self.idle = own_peak_mib()
        self._retained_mib: float | None = None
        nn.random.set_parameter_seed(0)
        network = models.create(config)
        Predictor(network)  # registers the parameters
        training, solver = TrainingKeys.of(config), SolverKeys.of(config)
        solver = replace(
            solver, momentum_form=optimizer.momentum_form(solver, network.family.momentum_form)
        )
        shape, processes = (training.needed_batch_size(), 3, *size), Processes()
        steps = derive_hyperparameters(
            training, ScheduleKeys.of(config), solver, shape[0], processes.size
        )
        self._trainer = Trainer(
            network,
            losses.create(config, network.info.num_classes),
            solver,
            steps,
            _SameBatch(shape, network.info.num_classes),
            processes,
            SingleProcessCommunicator(processes),
            seed=0,
            half=way.half,
            frozen=training.freeze,
            build={'recompute': way.recompute, 'channel_last': way.channel_last},
        )

    def train_turn(self) -> tuple[float, list[float], float]:
        """Take some steps; return the seconds of the last, all losses, and peak memory in MiB."""
        before, losses = self._gpu_memory(), []
        for _ in range(STEPS_PER_TURN):
            started = time.perf_counter()
            losses.append(self._trainer.step().loss)
            next(iter(nn.get_parameters().values())).d  # noqa: B018 (waits for the GPU's update)
            seconds = time.perf_counter() - started
        after = self._gpu_memory()
        context.release_cached_memory(self._choice)
        if self._retained_mib is None:
            self._retained_mib, before = self._gpu_memory() - self._before, self._gpu_memory()
        peak = own_peak_mib() if self._choice.name == 'cpu' else self._retained_mib + after - before
        return seconds, losses, peak

    def _gpu_memory(self) -> float:
        return machine.gpu_memory_mib(self._choice.device) if self._choice.name == 'cudnn' else 0.0


_contestant = None  # the trainer of this worker process, set by _start_contestant


def _start_contestant(*arguments) -> float:
    global _contestant
    _contestant = _ContestantTrainer(*arguments)
    return _contestant.idle


def _train_turn():
    return _contestant.train_turn()
