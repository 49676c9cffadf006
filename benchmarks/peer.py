"""The same network in PyTorch as a contestant, in a process of this or of another Python.

That Python needs torch and numpy; it is never a dependency. The graph goes over as files
(:mod:`benchmarks.graph_file`), and :mod:`benchmarks.pytorch_graph` runs it. For a step
of training that is the graph of the loss, batch and labels in it, as NNabla computes it; backward
pass and update (gradient descent with momentum) are PyTorch's.
"""

import json
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import nnabla as nn
import numpy as np

import models
from benchmarks import graph_file
from benchmarks.pipeline import PipelineTask
from common import machine
from common.errors import UserError
from datasets import image_files
from engine.device.context import DeviceChoice
from engine.training import losses, recipe
from engine.training.optimizer import SolverKeys
from engine.training.recipe import Recipe, TrainingKeys
from engine.training.schedules import ScheduleKeys
from layers.graph import functions
from models import NetworkInfo

SCRIPT = Path(__file__).with_name('pytorch_graph.py')
INSTALL = 'PYTHON -m pip install torch numpy, then --peer-python PYTHON'
TRIAL = 'import torch, numpy; print(torch.__version__)'
# Threads that wait sleep: by default they keep a core, and where it is wanted by any other program
# a network takes a hundred times as long. The environment's own value holds.
WAITING = {'OMP_WAIT_POLICY': 'PASSIVE'}
STEPS = 2  # of a turn of training; the last one is timed
TOLERANCES = {'float32': 1e-4, 'float16': 1e-2}  # of the first loss of a training


@dataclass(frozen=True)
class PeerForm:
    """How PyTorch runs a graph. how: as :class:`benchmarks.pytorch_graph.Worker` takes it."""

    how: str = 'eager'
    channels_last: bool = True


FORMS = {
    'contiguous': PeerForm(channels_last=False),
    'channels_last': PeerForm(),
    'compiled': PeerForm('compiled'),
    'recorded': PeerForm('recorded'),
}
ON_GPU = ('recorded',)  # as a CUDA graph


def check(python: str):
    """Raise ``UserError`` when a Python does not run or has no torch."""
    if shutil.which(python) is None:
        raise UserError(f'--peer-python {python}: no such program')
    process = subprocess.run([python, '-c', TRIAL], capture_output=True, text=True)
    if process.returncode:
        last = (process.stderr.strip().splitlines() or ['it does not start'])[-1]
        raise UserError(f'--peer pytorch: {python}: {last}; {INSTALL}')


class Program:
    """A process of :mod:`benchmarks.pytorch_graph`, which ends with this one; what it says of
    errors in full is in ``folder``.

    kept: the folder for what torch.compile keeps. Raises ``UserError`` when it cannot ``start``,
    which is what a command of the worker is called, with its arguments. version: of PyTorch.
    """

    def __init__(
        self,
        name: str,
        python: str,
        folder: Path,
        kept: Path,
        threads: int,
        start: str,
        **arguments,
    ):
        self._name, self._errors = name, folder / f'errors of {name}.txt'
        with self._errors.open('w') as errors:
            self._process = subprocess.Popen(
                [python, str(SCRIPT)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={
                    **WAITING,
                    **os.environ,
                    'OMP_NUM_THREADS': str(threads),
                    'TORCHINDUCTOR_CACHE_DIR': str(kept),
                },
            )
        try:
            self.version = self.ask(start, folder=str(folder), threads=threads, **arguments)
        except BaseException:
            self.close()
            raise

    def ask(self, what: str, **arguments):
        """What a command of :class:`benchmarks.pytorch_graph.Worker` answers.

        Raises ``UserError`` when it fails, and when the process dies.
        """
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None and answers is not None  # both are pipes
        try:
            requests.write(json.dumps({'do': what, **arguments}) + '\n')
            requests.flush()
            line = answers.readline()
        except BrokenPipeError:
            line = ''
        if not line:
            last = self._errors.read_text(errors='replace').strip().splitlines()[-1:]
            words = f' (its last words: {last[0]})' if last else ''
            raise UserError(
                f'{self._name}: the process has died, perhaps for want of memory{words}; '
                'try a smaller --size'
            )
        answer = json.loads(line)
        if 'error' in answer:
            raise UserError(f'{self._name}: {" ".join(answer["error"].split())}')
        return answer['answer']

    def close(self):
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()


class Peer:
    """A contestant in inference, of the graph in ``folder``, which has the task's size.

    PyTorch decodes and encodes no files: this process does, and its time counts. mode: of
    torch.compile. Raises ``UserError`` when the graph cannot be run.
    """

    def __init__(
        self,
        name: str,
        python: str,
        folder: Path,
        kept: Path,
        info: NetworkInfo,
        task: PipelineTask,
        precision: str,
        form: PeerForm,
        mode: str,
    ):
        self._folder, self._task = folder, task
        self._program = Program(
            name, python, folder, kept, task.threads, 'start',
            device=_device(task.context),
            channels_last=form.channels_last,
            precision=precision,
            form=form.how,
            mode=mode,
            mean=info.mean,
            std=info.std,
            swap=info.channel_order == 'rgb',
        )  # fmt: skip
        self.facts = {'PyTorch': self._program.version}
        self.close = self._program.close

    def logits(self) -> np.ndarray:
        """Of the task's input, (1, num_classes, h, w)."""
        output = self._folder / 'logits.npy'
        self._program.ask('logits', input=str(self._task.input), output=str(output))
        return np.load(output)

    def turn(self, least_seconds: float) -> tuple[float, float]:
        """Seconds from input to logits, and from file to file."""
        pixels, labels = self._folder / 'pixels.npy', self._folder / 'labels.npy'
        started = time.perf_counter()
        image = image_files.read_image(self._task.image)
        files = time.perf_counter() - started
        np.save(pixels, image)
        seconds = self._program.ask(
            'turn', image=str(pixels), labels=str(labels), least_seconds=least_seconds
        )
        classes = np.load(labels)
        started = time.perf_counter()
        cv2.imencode('.png', classes)
        files += time.perf_counter() - started
        return statistics.median(seconds['device']), statistics.median(seconds['whole']) + files

    def memory(self) -> float:
        """The most resident memory so far, in MiB."""
        return self._program.ask('memory')


def batch(shape: tuple[int, ...], classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Seeded images (N, 3, H, W), float32, and labels (N, 1, H, W), int32, some of them ignored."""
    rng = np.random.RandomState(0)
    images = rng.randn(*shape).astype(np.float32)
    return images, rng.randint(-1, classes, (shape[0], 1, *shape[2:])).astype(np.int32)


def write_training(config: Mapping, size: tuple[int, int], folder: Path) -> Recipe:
    """Write the loss of a batch as files; returns what the training is.

    The parameters are those that a training process of NNabla starts from. Raises ``UserError`` for
    a config whose steps would be others, or random.
    """
    training, solver = TrainingKeys.of(config), SolverKeys.of(config)
    if solver.solver != 'momentum':
        raise UserError(f'--peer pytorch: solver {solver.solver} has no counterpart here')
    nn.clear_parameters()
    nn.random.set_parameter_seed(0)
    network = models.create(config)
    shape, classes = (training.needed_batch_size(), 3, *size), network.info.num_classes
    images, labels = batch(shape, classes)
    with nn.context_scope(nn.Context(['cpu:float'], 'CpuCachedArray', '0')):
        image = nn.Variable.from_numpy_array(images)
        outputs = network(image, train=True, cuda=False)
        objective = losses.create(config, classes).build(outputs, size)
    objective.feed(labels, objective.counts(labels))
    if any(function.info.type_name == 'Dropout' for function in functions(objective.loss)):
        raise UserError(f'--peer pytorch: {network.name} drops values at random: no step is equal')
    image.need_grad = False
    graph_file.write(folder, [], [objective.loss])
    return recipe.from_keys(training, ScheduleKeys.of(config), solver, shape[0], 1)


class TrainingPeer:
    """A contestant in training, of the graph that :func:`write_training` has written.

    losses: of all steps. peak: the most memory so far, in MiB. Raises ``UserError`` when the graph
    cannot be run.
    """

    def __init__(
        self,
        name: str,
        python: str,
        folder: Path,
        config: Mapping,
        choice: DeviceChoice,
        training: Recipe,
        precision: str,
        channels_last: bool,
    ):
        self._name, self._choice, self._precision = name, choice, precision
        self.losses: list[float] = []
        self._before = self._gpu_memory()
        self._program = Program(
            name, python, folder, folder, machine.threads(), 'start_training',
            device=_device(choice.name),
            channels_last=channels_last,
            precision=precision,
            rate=training.rate(0),
            momentum=SolverKeys.of(config).momentum,
            weight_decay=training.weight_decay,
        )  # fmt: skip
        self.facts = {'PyTorch': self._program.version}
        self.close = self._program.close

    def start(self, loss: float):
        """The first turn; raises ``UserError`` when its first loss is another than NNabla's."""
        self.turn()
        if not abs(self.losses[0] - loss) <= TOLERANCES[self._precision] * abs(loss):
            raise UserError(
                f'{self._name}: the first loss is {self.losses[0]:g}, that of NNabla {loss:g}, so '
                'its time would say nothing'
            )

    def turn(self) -> float:
        """Seconds of a step."""
        for _ in range(STEPS):
            loss, seconds = self._program.ask('step')
            self.losses.append(loss)
        if self._choice.name == 'cpu':
            self.peak = self._program.ask('memory')
        else:
            self.peak = self._gpu_memory() - self._before
        return seconds

    def _gpu_memory(self) -> float:
        return machine.gpu_memory_mib(self._choice.device) if self._choice.name == 'cudnn' else 0.0


def _device(context: str) -> str:
    return 'cpu' if context == 'cpu' else 'cuda'
