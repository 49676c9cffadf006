"""One step of training under each recompute policy; on a GPU also in each precision and layout.

Every contestant is a process of its own, in which a whole training step runs: forward, loss,
backward, update. They take turns. Between its turns a process gives the memory of its activations
back, so each turn begins with a step that is not timed.
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
from benchmarks import frame, peer
from benchmarks.memory import own_peak_mib
from benchmarks.peer import STEPS
from benchmarks.process import Process
from common import machine
from datasets import Sample
from engine.device import context
from engine.device.context import DeviceChoice
from engine.distributed.communicators import SingleProcessCommunicator
from engine.distributed.processes import Processes
from engine.inference.predictor import Predictor
from engine.training import losses, optimizer, recipe
from engine.training.optimizer import SolverKeys
from engine.training.recipe import TrainingKeys
from engine.training.schedules import ScheduleKeys
from engine.training.trainer import Trainer
from layers.build import RECOMPUTE_POLICIES

ON_CPU = (
    'the most resident memory of the process of a contestant: {idle:.0f} of it are Python and its '
    'libraries, the rest parameters, their gradients and momentum, activations, and what '
    'convolutions need besides'
)
ON_GPU = (
    'used memory by nvidia-smi that the process of a contestant adds: its CUDA context, '
    "parameters, activations, and what NNabla's cache keeps of both"
)


@dataclass(frozen=True)
class TrainingContestant:
    """A way to train. name: ``cpu`` or ``cudnn``."""

    name: str
    recompute: str = 'none'
    half: bool = False
    channel_last: bool = False
    tf32: bool = False


def ways(name: str) -> dict[str, TrainingContestant]:
    """What is compared on a kind of device, first what all others are measured by."""
    found = {policy: TrainingContestant(name, policy) for policy in RECOMPUTE_POLICIES}
    if name == 'cudnn':
        found['half'] = TrainingContestant(name, half=True)
        found['channel_last'] = TrainingContestant(name, channel_last=True)
        found['half, channel_last'] = TrainingContestant(name, half=True, channel_last=True)
        found['TF32'] = TrainingContestant(name, tf32=True)
    return found


def peers(name: str) -> dict[str, tuple[str, bool]]:
    """The forms of PyTorch that take part on a kind of device: precision, and whether maps lie in
    memory as (N, H, W, C).
    """
    layouts = {'contiguous': False, 'channels_last': True}
    found = {f'pytorch {layout}': ('float32', last) for layout, last in layouts.items()}
    if name == 'cudnn':
        found |= {f'pytorch half, {layout}': ('float16', last) for layout, last in layouts.items()}
    return found


def measure(
    config: Mapping,
    choice: DeviceChoice,
    size: tuple[int, int],
    batch_size: int,
    rounds: int,
    peer_python: str | None = None,
) -> tuple[list[frame.Result], dict]:
    """Times, peak memory and losses of all ways, on a seeded batch that every step sees again.

    peer_python: a Python with torch, which takes part in all its forms. Raises ``UserError`` for a
    config that cannot train, when a process dies, and when a peer's first loss is not ours.
    """
    config = {**config, 'batch_size': batch_size, 'accumulation': 1}
    compared = ways(choice.name)
    with ExitStack() as stack:
        own: dict[str, _Contestant] = {}
        for name, way in compared.items():
            own[name] = _Contestant(name, way, config, size, choice.device)
            stack.callback(own[name].close)
        contestants: dict[str, _Contestant | peer.TrainingPeer] = {**own}
        first, facts = next(iter(own.values())), {}
        if peer_python:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            training = peer.write_training(config, size, folder)
            for name, form in peers(choice.name).items():
                contestant = peer.TrainingPeer(
                    name, peer_python, folder, config, choice, training, *form
                )
                stack.callback(contestant.close)
                contestant.start(first.losses[0])
                contestants[name], facts = contestant, contestant.facts
        turns = {name: contestant.turn for name, contestant in contestants.items()}
        results = frame.compare(turns, rounds, warm_up=0, own_clock=True)
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
        'step': 'forward, loss, backward and update, after one that is not timed; no loading',
        'precision': 'float32, but where a name says half (PyTorch: autocast and a loss scale)',
        'threads': f'{machine.threads()}; NNabla has one on a CPU',
        'MiB': ON_CPU.format(idle=first.idle) if choice.name == 'cpu' else ON_GPU,
        'loss': _about_losses({name: contestants[name].losses for name in RECOMPUTE_POLICIES}),
    }
    return results, facts


def _about_losses(losses: Mapping[str, list[float]]) -> str:
    steps = np.array(list(losses.values()))
    spread = float(np.ptp(steps, axis=0).max())
    same = f'differ by up to {spread:g}' if spread else 'are the same, bit for bit'
    return f'after {steps.shape[1]} steps; those of the recompute policies {same} at every step'


class _Contestant:
    """The process of a way.

    losses: of all steps. peak: the most memory so far. idle: before there was a network.
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
        self._process = Process(name, 'try a smaller --size or --batch-size')
        try:
            self.idle = self._process.ask(_start, config, way, size, device)
            self.turn()
        except BaseException:
            self.close()
            raise

    def turn(self) -> float:
        """Seconds of a step."""
        seconds, losses, self.peak = self._process.ask(_turn)
        self.losses += losses
        return seconds

    def close(self):
        self._process.close()


class _SameBatch:
    """A loader that has one seeded batch."""

    samples: tuple[Sample, ...] = ()

    def __init__(self, shape: tuple[int, ...], classes: int):
        self._batch = peer.batch(shape, classes)

    def next(self) -> tuple[np.ndarray, np.ndarray]:
        return self._batch

    def state_dict(self) -> dict[str, Any]:
        return {}


class _Turns:
    """What a contestant's process does."""

    def __init__(
        self, config: Mapping, way: TrainingContestant, size: tuple[int, int], device: int
    ):
        self._before = machine.gpu_memory_mib(device) if way.name == 'cudnn' else 0.0
        type_config = 'half' if way.half else 'float'
        self._choice = context.use(way.name, type_config, device, tf32=way.tf32)
        self.idle = own_peak_mib()
        self._kept: float | None = None
        nn.random.set_parameter_seed(0)
        network = models.create(config)
        Predictor(network)  # registers the parameters
        training, solver = TrainingKeys.of(config), SolverKeys.of(config)
        solver = replace(
            solver, momentum_form=optimizer.momentum_form(solver, network.family.momentum_form)
        )
        shape, processes = (training.needed_batch_size(), 3, *size), Processes()
        steps = recipe.from_keys(
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

    def take(self) -> tuple[float, list[float], float]:
        """Seconds of the last of some steps, losses of all of them, peak memory in MiB."""
        before, losses = self._gpu_memory(), []
        for _ in range(STEPS):
            started = time.perf_counter()
            losses.append(self._trainer.step().loss)
            next(iter(nn.get_parameters().values())).d  # noqa: B018 (waits for the update)
            seconds = time.perf_counter() - started
        after = self._gpu_memory()
        context.release_cached_memory(self._choice)
        if self._kept is None:
            self._kept, before = self._gpu_memory() - self._before, self._gpu_memory()
        peak = own_peak_mib() if self._choice.name == 'cpu' else self._kept + after - before
        return seconds, losses, peak

    def _gpu_memory(self) -> float:
        return machine.gpu_memory_mib(self._choice.device) if self._choice.name == 'cudnn' else 0.0


_turns = None  # of this process, a contestant's


def _start(*arguments) -> float:
    global _turns
    _turns = _Turns(*arguments)
    return _turns.idle


def _turn():
    return _turns.take()
