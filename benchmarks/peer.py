"""Run the same network in PyTorch as a contestant, in a process of this or another Python.

That Python needs torch and numpy; the project itself does not need torch. The graph is passed in
files (:mod:`benchmarks.graph_file`), and :mod:`benchmarks.pytorch_graph` runs it. The graph of a
training step is NNabla's graph of the loss with the images and labels of a batch; PyTorch adds the
backward pass and the update (gradient descent with momentum).
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
from engine.training import losses
from engine.training.hyperparameters import Hyperparameters, TrainingKeys, derive_hyperparameters
from engine.training.optimizer import SolverKeys
from engine.training.schedules import ScheduleKeys
from layers.graph import functions
from models import NetworkInfo

GRAPH_SCRIPT = Path(__file__).with_name('pytorch_graph.py')
INSTALL_ADVICE = 'PYTHON -m pip install torch numpy, then --peer-python PYTHON'
IMPORT_CHECK = 'import torch, numpy; print(torch.__version__)'
# Waiting threads sleep. By default they spin and keep a core busy; when another program needs that
# core, a network takes a hundred times as long. A value in the environment takes precedence.
PASSIVE_WAIT = {'OMP_WAIT_POLICY': 'PASSIVE'}
STEPS_PER_TURN = 2  # training steps; only the last one is timed
FIRST_LOSS_TOLERANCES = {'float32': 1e-4, 'float16': 1e-2}  # relative to NNabla's first loss


@dataclass(frozen=True)
class PeerForm:
    """How PyTorch runs a graph.

    Attributes:
        how: ``eager``, ``compiled`` by torch.compile, or ``recorded`` as a CUDA graph.
        channels_last: Whether maps and kernels lie in memory as (N, H, W, C).
    """

    how: str = 'eager'
    channels_last: bool = True


FORMS = {
    'contiguous': PeerForm(channels_last=False),
    'channels_last': PeerForm(),
    'compiled': PeerForm('compiled'),
    'recorded': PeerForm('recorded'),
}
GPU_FORMS = ('recorded',)


def require_torch(python: str):
    """Raise ``UserError`` when a Python cannot be started or lacks torch or numpy."""
    if shutil.which(python) is None:
        raise UserError(f'--peer-python {python}: no such program')
    process = subprocess.run([python, '-c', IMPORT_CHECK], capture_output=True, text=True)
    if process.returncode:
        last = (process.stderr.strip().splitlines() or ['it cannot be started'])[-1]
        raise UserError(f'--peer pytorch: {python}: {last}; {INSTALL_ADVICE}')


class PyTorchProcess:
    """A process that runs :mod:`benchmarks.pytorch_graph`; it exits when this process exits.

    Attributes:
        version: Version of PyTorch.
    """

    def __init__(
        self,
        name: str,
        python: str,
        folder: Path,
        cache_folder: Path,
        threads: int,
        start: str,
        **arguments,
    ):
        """Start the process and send its first command.

        Args:
            name: Name of the contestant, for error messages.
            python: A Python with torch and numpy.
            folder: Folder of the graph; the process writes its standard error there.
            cache_folder: Folder for compiled code of torch.compile.
            threads: Threads of PyTorch.
            start: Name of the first command.
            **arguments: Further arguments of the first command.

        Raises:
            UserError: The first command failed.
        """
        self._name, self._errors = name, folder / f'errors of {name}.txt'
        with self._errors.open('w') as errors:
            self._process = subprocess.Popen(
                [python, str(GRAPH_SCRIPT)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                errors='replace',
                env={
                    **PASSIVE_WAIT,
                    **os.environ,
                    'OMP_NUM_THREADS': str(threads),
                    'TORCHINDUCTOR_CACHE_DIR': str(cache_folder),
                },
            )
        try:
            self.version = self.request(start, folder=str(folder), threads=threads, **arguments)
        except BaseException:
            self.close()
            raise

    def request(self, what: str, **arguments):
        """Send a command and return its result.

        Args:
            what: Name of a method of benchmarks.pytorch_graph.GraphWorker.
            **arguments: Arguments of the method.

        Raises:
            UserError: The command failed or the process died.
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
            words = f' (its last line: {last[0]})' if last else ''
            raise UserError(
                f'{self._name}: the process died, perhaps for lack of memory{words}; '
                'try a smaller --size'
            )
        answer = json.loads(line)
        if 'error' in answer:
            raise UserError(f'{self._name}: {" ".join(answer["error"].split())}')
        return answer['answer']

    def close(self):
        """End the process, even in the middle of a command."""
        self._process.kill()
        self._process.wait()
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()


class InferencePeer:
    """PyTorch as a contestant in inference.

    This process decodes and encodes the image files for PyTorch; the time from file to file
    includes that work.

    Attributes:
        facts: The version of PyTorch.
    """

    def __init__(
        self,
        name: str,
        python: str,
        folder: Path,
        cache_folder: Path,
        info: NetworkInfo,
        task: PipelineTask,
        precision: str,
        form: PeerForm,
        mode: str,
    ):
        """Start a PyTorch process and load the graph.

        Args:
            name: Name of the contestant.
            python: A Python with torch and numpy.
            folder: Folder of the graph, which has the task's input size.
            cache_folder: Folder for compiled code of torch.compile.
            info: Normalisation and channel order of the network.
            task: Image, input and device.
            precision: ``float32``, or the type of autocast.
            form: How PyTorch runs the graph.
            mode: Mode of torch.compile.

        Raises:
            UserError: PyTorch cannot run the graph.
        """
        self._folder, self._task = folder, task
        self._program = PyTorchProcess(
            name, python, folder, cache_folder, task.threads, 'start',
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
        """Return the logits (1, num_classes, h, w) of the task's input."""
        output = self._folder / 'logits.npy'
        self._program.request('logits', input=str(self._task.input), output=str(output))
        return np.load(output)

    def turn(self, min_seconds: float) -> tuple[float, float]:
        """Run for ``min_seconds``; return the median seconds from input to logits, file to file."""
        pixels, labels = self._folder / 'pixels.npy', self._folder / 'labels.npy'
        started = time.perf_counter()
        image = image_files.read_image(self._task.image)
        files = time.perf_counter() - started
        np.save(pixels, image)
        seconds = self._program.request(
            'turn', image=str(pixels), labels=str(labels), min_seconds=min_seconds
        )
        classes = np.load(labels)
        started = time.perf_counter()
        cv2.imencode('.png', classes)
        files += time.perf_counter() - started
        return statistics.median(seconds['device']), statistics.median(seconds['whole']) + files

    def memory(self) -> float:
        """Return the peak resident memory of the process so far, in MiB."""
        return self._program.request('memory')


def batch(shape: tuple[int, ...], classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return seeded float32 images (N, 3, H, W) and int32 labels (N, 1, H, W), some ignored."""
    rng = np.random.RandomState(0)
    images = rng.randn(*shape).astype(np.float32)
    return images, rng.randint(-1, classes, (shape[0], 1, *shape[2:])).astype(np.int32)


def write_training(config: Mapping, size: tuple[int, int], folder: Path) -> Hyperparameters:
    """Write the graph of the loss of one batch, with the initial parameters of NNabla's training.

    Args:
        config: Config of the network and its training.
        size: Height and width of the images.
        folder: Folder of the files.

    Returns:
        The hyperparameters of the training.

    Raises:
        UserError: The config's solver is not momentum, or the network has random functions, so that
            the steps of PyTorch and NNabla would differ.
    """
    training, solver = TrainingKeys.of(config), SolverKeys.of(config)
    if solver.solver != 'momentum':
        raise UserError(
            f'--peer pytorch: solver {solver.solver} is not supported; only momentum is'
        )
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
        raise UserError(
            f'--peer pytorch: {network.name} has dropout, so its steps are not comparable'
        )
    image.need_grad = False
    graph_file.write_graph(folder, [], [objective.loss])
    return derive_hyperparameters(training, ScheduleKeys.of(config), solver, shape[0], 1)


class TrainingPeer:
    """PyTorch as a contestant in training, on a graph that :func:`write_training` wrote.

    Attributes:
        facts: The version of PyTorch.
        losses: Losses of all steps so far.
        peak: Peak memory so far, in MiB.
    """

    def __init__(
        self,
        name: str,
        python: str,
        folder: Path,
        config: Mapping,
        choice: DeviceChoice,
        training: Hyperparameters,
        precision: str,
        channels_last: bool,
    ):
        """Start a PyTorch process and load the graph.

        Args:
            name: Name of the contestant.
            python: A Python with torch and numpy.
            folder: Folder of the graph.
            config: Config of the training.
            choice: Device of the training.
            training: Hyperparameters that :func:`write_training` returned.
            precision: ``float32``, or the type of autocast.
            channels_last: Whether maps and kernels lie in memory as (N, H, W, C).

        Raises:
            UserError: PyTorch cannot run the graph.
        """
        self._name, self._choice, self._precision = name, choice, precision
        self.losses: list[float] = []
        self._before = self._gpu_memory()
        self._program = PyTorchProcess(
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
        """Take the first turn; raise ``UserError`` if its first loss is not NNabla's ``loss``."""
        self.turn()
        if not abs(self.losses[0] - loss) <= FIRST_LOSS_TOLERANCES[self._precision] * abs(loss):
            raise UserError(
                f'{self._name}: the first loss is {self.losses[0]:g}, but {loss:g} in NNabla; the '
                'times are not comparable'
            )

    def turn(self) -> float:
        """Train for one turn; return the seconds of its last step."""
        for _ in range(STEPS_PER_TURN):
            loss, seconds = self._program.request('step')
            self.losses.append(loss)
        if self._choice.name == 'cpu':
            self.peak = self._program.request('memory')
        else:
            self.peak = self._gpu_memory() - self._before
        return seconds

    def _gpu_memory(self) -> float:
        return machine.gpu_memory_mib(self._choice.device) if self._choice.name == 'cudnn' else 0.0


def _device(context: str) -> str:
    return 'cpu' if context == 'cpu' else 'cuda'
