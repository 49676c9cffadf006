"""Worker processes that write samples into memory they share with the loader. For Linux.

A worker is a new Python that imports this module only: nothing of the main program is run again and
nothing of MPI or NNabla is inherited. All take their tasks from one socket, so that whoever is free
takes the next, and that socket is how they notice the end of the loader, however it ends: when it
closes they leave. The shared memory has no name, the kernel frees it with the last process.
"""

import ctypes
import mmap
import os
import pickle
import signal
import socket
import subprocess
import sys
import traceback
import weakref
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import NoReturn

import numpy as np

from common.errors import InputError, UserError
from common.worker import become_worker
from datasets.dataset import Dataset, to_network
from datasets.info import IGNORE
from datasets.loading import sampler
from datasets.loading.resample import resample_image, resample_label
from datasets.loading.transforms import Batch, Transform, distort, normalise

REPLACEMENTS = 100  # to be tried for one bad sample
LARGEST_TASK = 1 << 16  # bytes
PATIENCE = 5.0  # seconds in which a worker must end
PROGRAM = (
    'import sys; sys.path[:] = {path!r}; '
    'from datasets.loading import sample_workers; sample_workers.main()'
)


@dataclass(frozen=True)
class SampleRecipe:
    """How a sample is made: all that a worker knows."""

    dataset: Dataset
    transform: Transform
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channel_order: str
    seed: int
    skip_bad: bool

    def write(
        self, epoch: int, index: int, batch: Batch, image: np.ndarray, label: np.ndarray
    ) -> list[str]:
        """Make a sample in ``image``, float32 (3, H, W), and ``label``, int32 (1, H, W).

        The random numbers are those of this sample in this epoch, whoever makes it. Returns what
        was wrong with samples in whose place another was taken, where that is allowed. Raises
        ``InputError``; ``RuntimeError`` with the file's name for any other failure.
        """
        problems: list[str] = []
        for candidate in self._candidates(epoch, index):
            try:
                self._write(candidate, epoch, index, batch, image, label)
                return problems
            except InputError as error:
                if not self.skip_bad:
                    raise
                problems.append(str(error))
            except UserError:
                raise
            except Exception as error:
                path = self.dataset[candidate].image
                raise RuntimeError(f'{path}: {type(error).__name__}: {error}') from error
        raise InputError(f'{len(problems)} bad samples in a row, the last: {problems[-1]}')

    def _candidates(self, epoch: int, index: int):
        yield index
        others = sampler.generator(self.seed, sampler.REPLACEMENT, epoch, index)
        for candidate in others.permutation(len(self.dataset))[:REPLACEMENTS]:
            if candidate != index:
                yield int(candidate)

    def _write(self, candidate, epoch, index, batch, image, label):
        pixels, classes = self.dataset.pair(candidate)
        rng = sampler.generator(self.seed, sampler.SAMPLE, epoch, index)
        view = self.transform.view(classes, rng, batch)
        pixels, classes = resample_image(pixels, view), resample_label(classes, view)
        if self.transform.distort:
            pixels = distort(pixels, rng)
        height, width = classes.shape
        if (height, width) != label.shape[1:]:
            pad = self.transform.pad_label
            image.fill(0)  # the mean
            label.fill(-1 if pad == IGNORE else pad)
        normalise(pixels, self.mean, self.std, self.channel_order, out=image[:, :height, :width])
        names = len(self.dataset.info.classes)
        label[0, :height, :width] = to_network(classes, names, self.dataset[candidate].label)


@dataclass(frozen=True)
class SampleTask:
    """One sample: where its batch is in the shared memory, and which row of it to write."""

    ticket: int
    offset: int
    count: int
    batch: Batch
    row: int
    epoch: int
    index: int


def batch_bytes(count: int, batch: Batch) -> int:
    """The size of ``count`` images and labels."""
    return 4 * (3 + 1) * count * batch.size[0] * batch.size[1]


def batch_arrays(buffer, count: int, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Images, float32 (N, 3, H, W), and labels, int32 (N, 1, H, W), in a buffer of bytes."""
    height, width = batch.size
    images = buffer[: 12 * count * height * width].view(np.float32)
    labels = buffer[12 * count * height * width : batch_bytes(count, batch)].view(np.int32)
    return images.reshape(count, 3, height, width), labels.reshape(count, 1, height, width)


class SharedMemory:
    """Blocks of memory without a name; a block is free again when no array uses it."""

    def __init__(self, block_bytes: int):
        self.file = os.memfd_create('batches')
        self._size = -(-block_bytes // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        self._free: deque[tuple[int, mmap.mmap]] = deque()
        self._end = 0

    def block(self) -> tuple[int, np.ndarray]:
        """The offset and the bytes of a block."""
        if self._free:
            offset, mapping = self._free.popleft()
        else:
            offset, self._end = self._end, self._end + self._size
            os.ftruncate(self.file, self._end)
            mapping = mmap.mmap(self.file, self._size, offset=offset)
        buffer = np.frombuffer(mapping, np.uint8)
        weakref.finalize(buffer, self._free.append, (offset, mapping)).atexit = False
        return offset, buffer

    def close(self):
        """Forget the memory; arrays in it stay as they are."""
        os.close(self.file)


class Pool:
    """Worker processes; ``submit`` tasks, ``receive`` what became of them."""

    def __init__(self, recipe: SampleRecipe, workers: int, block_bytes: int):
        self.memory = SharedMemory(block_bytes)
        self._tasks, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._tasks.setblocking(False)
        self._processes = {}
        command = [sys.executable, '-c', PROGRAM.format(path=sys.path)]
        one_thread = dict.fromkeys(('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS'), '1')
        with theirs:
            for _ in range(workers):
                ours, end = socket.socketpair()
                files = theirs.fileno(), end.fileno(), self.memory.file
                with end:
                    process = subprocess.Popen(
                        [*command, *map(str, files)],
                        stdin=subprocess.DEVNULL,
                        env=os.environ | one_thread,
                        pass_fds=files,
                        start_new_session=True,  # Ctrl-C is for the loader, which ends them
                    )
                connection = Connection(ours.detach())
                self._processes[connection] = process
        try:
            for connection in self._processes:
                self._guard(connection, lambda connection: connection.send(recipe))
        except BaseException:
            self.close()
            raise

    def submit(self, task: SampleTask) -> bool:
        """Queue a task; False when the queue is full."""
        try:
            self._tasks.send(pickle.dumps(task))
            return True
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionResetError):
            self._explain(next(iter(self._processes)))

    def receive(self) -> list[tuple[int, list[str], Exception | None]]:
        """Wait for results: ticket, problems of skipped samples, and what the task raised."""
        return [
            self._guard(connection, lambda connection: connection.recv())
            for connection in wait(list(self._processes))
        ]

    def close(self):
        """End the workers, with what they are doing."""
        self._tasks.close()
        for connection in self._processes:
            connection.close()
        for process in self._processes.values():
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.memory.close()

    def _guard(self, connection, act):
        try:
            return act(connection)
        except (EOFError, ConnectionError):
            self._explain(connection)

    def _explain(self, connection: Connection) -> NoReturn:
        status = self._processes[connection].wait(PATIENCE)
        reason = signal.Signals(-status).name if status < 0 else f'status {status}'
        raise UserError(
            f'a worker process of the loader ended ({reason}); if memory was short, take fewer '
            'workers or a smaller batch'
        )


def main():
    """The life of a worker; its three files are the command line's last arguments."""
    tasks_file, results_file, memory_file = map(int, sys.argv[1:])
    become_worker((signal.SIGINT, signal.SIGTERM))  # the loader may go on for a while
    _keep_memory()
    with (
        socket.socket(fileno=tasks_file) as tasks,
        Connection(results_file) as results,
    ):
        try:
            recipe, mappings = results.recv(), {}
            while message := tasks.recv(LARGEST_TASK):
                results.send(_run(recipe, pickle.loads(message), memory_file, mappings))
        except (EOFError, ConnectionError):
            return  # the loader is gone


def _run(recipe: SampleRecipe, task: SampleTask, memory_file: int, mappings: dict):
    size = batch_bytes(task.count, task.batch)
    mapping = mappings.get(task.offset)
    if mapping is None or len(mapping) < size:
        mapping = mappings[task.offset] = mmap.mmap(memory_file, size, offset=task.offset)
    images, labels = batch_arrays(np.frombuffer(mapping, np.uint8), task.count, task.batch)
    row = task.row
    try:
        problems = recipe.write(task.epoch, task.index, task.batch, images[row], labels[row])
        return task.ticket, problems, None
    except UserError as error:
        kind = InputError if isinstance(error, InputError) else UserError
        return task.ticket, [], kind(str(error))
    except RuntimeError as error:
        text = ''.join(traceback.format_exception(error))
        return task.ticket, [], RuntimeError(f'{error}\n\nIn the worker:\n{text}')


def _keep_memory():
    """Tell glibc not to return large blocks to the system after every image: to get them back
    takes a fifth of the time of a sample.
    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is not None:
        m_trim_threshold, m_mmap_threshold = -1, -3
        mallopt(m_mmap_threshold, 32 << 20)
        mallopt(m_trim_threshold, 512 << 20)
