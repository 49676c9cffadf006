"""The same network in PyTorch as a contestant, in a process of this or of another Python.

That Python needs torch and numpy; it is never a dependency. The graph goes over as files
(:mod:`engine.benchmark.graph_file`), and :mod:`engine.benchmark.pytorch_graph` runs it.
"""

import json
import os
import shutil
import statistics
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from command import UserError
from datasets import image_files
from engine.benchmark.pipeline import Task
from models import Info

SCRIPT = Path(__file__).with_name('pytorch_graph.py')
INSTALL = 'PYTHON -m pip install torch numpy, then --peer-python PYTHON'
TRIAL = 'import torch, numpy; print(torch.__version__)'


def check(python: str):
    """Raise ``UserError`` when a Python does not run or has no torch."""
    if shutil.which(python) is None:
        raise UserError(f'--peer-python {python}: no such program')
    process = subprocess.run([python, '-c', TRIAL], capture_output=True, text=True)
    if process.returncode:
        last = (process.stderr.strip().splitlines() or ['it does not start'])[-1]
        raise UserError(f'--peer pytorch: {python}: {last}; {INSTALL}')


class Program:
    """A process of :mod:`engine.benchmark.pytorch_graph`; what it says of errors in full is in
    ``folder``.
    """

    def __init__(self, name: str, python: str, folder: Path, threads: int):
        self._name = name
        with (folder / 'errors.txt').open('a') as errors:
            self._process = subprocess.Popen(
                [python, str(SCRIPT)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, 'OMP_NUM_THREADS': str(threads)},
            )

    def ask(self, what: str, **arguments):
        """What a command of :class:`engine.benchmark.pytorch_graph.Worker` answers.

        Raises ``UserError`` when it fails, and when the process dies.
        """
        try:
            self._process.stdin.write(json.dumps({'do': what, **arguments}) + '\n')
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ''
        if not line:
            raise UserError(
                f'{self._name}: the process has died, perhaps for want of memory; try a smaller '
                '--size'
            )
        answer = json.loads(line)
        if 'error' in answer:
            raise UserError(f'{self._name}: {answer["error"]}')
        return answer['answer']

    def close(self):
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


class Peer:
    """A contestant in inference, of the graph in ``folder``, which has the task's size.

    PyTorch decodes and encodes no files: this process does, and its time counts. Raises
    ``UserError`` when the graph cannot be run.
    """

    def __init__(
        self,
        name: str,
        python: str,
        folder: Path,
        info: Info,
        task: Task,
        precision: str,
        channels_last: bool,
    ):
        self._folder, self._task = folder, task
        self._program = Program(name, python, folder, task.threads)
        try:
            version = self._program.ask(
                'start',
                folder=str(folder),
                device='cpu' if task.context == 'cpu' else 'cuda',
                channels_last=channels_last,
                precision=precision,
                threads=task.threads,
                mean=info.mean,
                std=info.std,
                swap=info.channel_order == 'rgb',
            )
        except BaseException:
            self.close()
            raise
        self.facts = {'PyTorch': version}

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

    def close(self):
        self._program.close()
