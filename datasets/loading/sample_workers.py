"""Worker processes that write samples into memory shared with the loader. Linux only.

A worker is a new Python process that imports this module but does not run the main program again,
and inherits nothing of MPI or NNabla. All workers take their tasks from one socket, so a free
worker takes the next task. A worker exits when the loader's end of that socket closes, which
happens however the loader process ends. The shared memory has no name; the kernel frees it when the
last process that uses it ends.
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

from common import once
from common.errors import BadSampleError, InputError, UserError
from common.worker import become_worker
from datasets.loading.sample_writer import SampleWriter
from datasets.loading.transforms import Batch

MAX_TASK_BYTES = 1 << 16
EXIT_TIMEOUT_SECONDS = 5.0  # a worker that takes longer to exit is killed
WORKER_PROGRAM = (
    'import sys; sys.path[:] = {path!r}; '
    'from datasets.loading import sample_workers; sample_workers.main()'
)


@dataclass(frozen=True)
class SampleTask:
    """One sample and its place in the shared memory.

    Attributes:
        ticket: Number that identifies the task in its result.
        offset: Offset of the batch in the shared memory, in bytes.
        count: Number of samples in the batch.
        batch: Properties that all samples of the batch share.
        row: Row of the sample in the batch.
        epoch: Epoch of the sample, from 0.
        index: Index of the sample in the data set.
    """

    ticket: int
    offset: int
    count: int
    batch: Batch
    row: int
    epoch: int
    index: int


class SharedMemory:
    """Anonymous shared memory in blocks; a block is reused once no array refers to it."""

    def __init__(self, block_bytes: int):
        self.file = os.memfd_create('batches')
        self._size = -(-block_bytes // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        self._free: deque[tuple[int, mmap.mmap]] = deque()
        self._end = 0

    def block(self) -> tuple[int, np.ndarray]:
        """Return the offset and the bytes of a free block."""
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
        """Close the file; arrays in the memory stay valid."""
        os.close(self.file)


class WorkerPool:
    """A pool of worker processes: ``submit`` queues tasks, ``receive`` returns results.

    Args:
        writer: The sample writer, which is sent to every worker.
        workers: Number of processes.
        block_bytes: Size of the largest batch in bytes.

    Raises:
        UserError: A worker process died.
    """

    def __init__(self, writer: SampleWriter, workers: int, block_bytes: int):
        self.memory = SharedMemory(block_bytes)
        self._tasks, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._tasks.setblocking(False)
        self._processes = {}
        command = [sys.executable, '-c', WORKER_PROGRAM.format(path=sys.path)]
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
                        start_new_session=True,  # Ctrl-C must interrupt only the loader
                    )
                connection = Connection(ours.detach())
                self._processes[connection] = process
        try:
            for connection in self._processes:
                self._guard(connection, lambda connection: connection.send(writer))
        except BaseException:
            self.close()
            raise

    def submit(self, task: SampleTask) -> bool:
        """Queue a task; return False if the queue is full."""
        try:
            self._tasks.send(pickle.dumps(task))
            return True
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionResetError):
            self._raise_worker_error(next(iter(self._processes)))

    def receive(self) -> list[tuple[int, list[str], Exception | None]]:
        """Wait for results and return those that have arrived.

        Returns:
            For each result the ticket of its task, the problems of replaced samples, and the
            exception that ended the task, or None.
        """
        received = []
        for connection in wait(list(self._processes)):
            result, warnings = self._guard(connection, lambda connection: connection.recv())
            once.show(warnings)
            received.append(result)
        return received

    def close(self):
        """Stop the workers after their current tasks; kill those that do not exit in time."""
        self._tasks.close()
        for connection in self._processes:
            connection.close()
        for process in self._processes.values():
            try:
                process.wait(EXIT_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.memory.close()

    def _guard(self, connection, act):
        try:
            return act(connection)
        except (EOFError, ConnectionError):
            self._raise_worker_error(connection)

    def _raise_worker_error(self, connection: Connection) -> NoReturn:
        status = self._processes[connection].wait(EXIT_TIMEOUT_SECONDS)
        reason = signal.Signals(-status).name if status < 0 else f'status {status}'
        raise UserError(
            f'a worker process of the loader died ({reason}); if memory ran out, use fewer '
            'workers or a smaller batch'
        )


def main():
    """Run a worker; the last three command-line arguments are its file descriptors."""
    tasks_file, results_file, memory_file = map(int, sys.argv[1:])
    # The loader decides when to stop.
    become_worker((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    _retain_freed_memory()
    with (
        socket.socket(fileno=tasks_file) as tasks,
        Connection(results_file) as results,
    ):
        try:
            writer, mappings = results.recv(), {}
            while message := tasks.recv(MAX_TASK_BYTES):
                result = _execute(writer, pickle.loads(message), memory_file, mappings)
                results.send((result, once.take()))
        except (EOFError, ConnectionError):
            return  # the loader has exited


def _execute(writer: SampleWriter, task: SampleTask, memory_file: int, mappings: dict):
    size = writer.layout.bytes(task.count, task.batch)
    mapping = mappings.get(task.offset)
    if mapping is None or len(mapping) < size:
        mapping = mappings[task.offset] = mmap.mmap(memory_file, size, offset=task.offset)
    arrays = writer.layout.arrays(np.frombuffer(mapping, np.uint8), task.count, task.batch)
    try:
        problems = writer.write(task.epoch, task.index, task.batch, arrays.row(task.row))
        return task.ticket, problems, None
    except UserError as error:
        kinds = (
            BadSampleError,
            InputError,
            UserError,
        )  # an error of other kinds may not be picklable
        return task.ticket, [], next(k for k in kinds if isinstance(error, k))(str(error))
    except RuntimeError as error:
        text = ''.join(traceback.format_exception(error))
        return task.ticket, [], RuntimeError(f'{error}\n\nIn the worker process:\n{text}')


def _retain_freed_memory():
    """Configure glibc to keep large freed blocks instead of returning them to the kernel.

    Otherwise a fifth of the time of a sample is spent on allocating memory again.
    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is not None:
        m_trim_threshold, m_mmap_threshold = -1, -3
        mallopt(m_mmap_threshold, 32 << 20)
        mallopt(m_trim_threshold, 512 << 20)
