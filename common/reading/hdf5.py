"""Read arrays and attributes of HDF5 files of unknown origin.

    names = hdf5.list_arrays(path)
    with h5py.File(path, 'r') as file:
        arrays = {name: hdf5.read(file, name) for name in names}

HDF5 crashes on some damaged files and never returns from others. So a child process reads what
describes the arrays, and this process reads the values of a file that the child came through.
"""

import faulthandler
import gc
import json
import mmap
import os
import resource
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import h5py
import numpy as np
from h5py import h5d, h5s
from numpy.typing import NDArray

from common.reading import hdf5_structure
from common.reading.hdf5_structure import DAMAGED, ArrayError, shown

__all__ = ['DAMAGED', 'HDF5_ERRORS', 'ArrayError', 'attributes', 'list_arrays', 'problem', 'read']

Source: TypeAlias = str | os.PathLike[str] | BinaryIO

# Exceptions of h5py for a damaged file, and ArrayError.
HDF5_ERRORS = (OSError, RuntimeError, LookupError, ValueError, TypeError, MemoryError)
# Limits of a child's computation. Ten thousand arrays take one or two seconds, attributes some ms.
SECONDS_FOR_ARRAYS, SECONDS_FOR_ATTRIBUTES = 5, 1
CHILD_BYTES = 1 << 30  # beyond the memory of this process
MAX_ANSWER_BYTES = 1 << 26  # of names and attributes; the memory is taken as far as it is used
_LENGTH_BYTES = 8


def list_arrays(source: Source) -> list[str]:
    """Return the names of all arrays of a file whose values can be read.

    Groups are separated by ``/``; the order is that of h5py.

    Args:
        source: The path of the file, or the file opened for reading in binary mode.

    Raises:
        ArrayError: Values outside of the file, sizes that it cannot hold, other things than
            numbers; the message names the array or the link.
        OSError, MemoryError: The file cannot be read.
    """
    return list(_in_child(hdf5_structure.list_arrays, source, SECONDS_FOR_ARRAYS))


def attributes(source: Source, names: Sequence[str]) -> dict[str, Any]:
    """Return those attributes of a file that exist and are a text, a number or a few numbers.

    Args:
        source: As for :func:`list_arrays`.
        names: The names of the attributes.

    Raises:
        ArrayError, OSError, MemoryError: The file cannot be read.
    """

    def task(file: h5py.File) -> dict[str, Any]:
        return hdf5_structure.attributes(file, names)

    return dict(_in_child(task, source, SECONDS_FOR_ATTRIBUTES))


def read(file: h5py.File, name: str) -> NDArray[Any]:
    """Return an array that :func:`list_arrays` has listed.

    Raises:
        ArrayError: A chunk unpacks to another size.
        OSError, RuntimeError, LookupError, ValueError, TypeError, MemoryError: The file is damaged.
    """
    dataset = h5d.open(file.id, name.encode())
    hdf5_structure.check_chunks(dataset, name, file.id.get_filesize())
    array = np.empty(dataset.shape, dataset.dtype)
    dataset.read(h5s.ALL, h5s.ALL, array)
    return array


def problem(error: Exception, what: str) -> str:
    """Return fault and remedy for one of ``HDF5_ERRORS``, to follow the path of the file.

    Args:
        error: The exception.
        what: What the file was read as, such as ``an NNabla .h5 file``.
    """
    text = shown(_text(error))
    if isinstance(error, MemoryError):
        return f'needs more memory than there is{text and f" ({text})"}'
    if isinstance(error, OSError) and error.errno is not None:
        return f'cannot be read ({text})'
    if isinstance(error, ArrayError) and error.advice != DAMAGED:
        return f'is not {what} ({text}); {error.advice}'
    return f'is truncated or not {what} ({text}); {DAMAGED}'


def _in_child(task: Callable[[h5py.File], Any], source: Source, seconds: int) -> Any:
    """Return the result of a task in a child process, as JSON transports it.

    Args:
        task: Receives the open file.
        source: The path of the file, or the open file.
        seconds: Limit of the computation.

    Raises:
        ArrayError: The task raised an exception, or its process was killed.
        OSError, MemoryError: The task raised it.
    """
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_AS: _memory() + CHILD_BYTES,
    }
    status, answer = _run(lambda memory: _serve(task, source, memory, limits))
    if status == -signal.SIGXCPU:
        raise ArrayError('reading it does not end')
    if status or not answer:
        raise ArrayError(f'HDF5 crashes on it (exit status {status})')
    result, fault = json.loads(answer)
    if fault is None:
        return result
    if fault['kind'] == 'memory':
        raise MemoryError(fault['text'])
    if fault['kind'] == 'system':
        raise OSError(fault['errno'], fault['text'])
    raise ArrayError(fault['text'], fault['advice'])


def _run(serve: Callable[[mmap.mmap], None]) -> tuple[int, bytes]:
    """Return the exit status of a child process that calls a function, and its answer.

    Args:
        serve: Receives the memory for :func:`_write_answer`, and ends the process.

    Raises:
        OSError: The system starts no process.
    """
    # A pipe has no end while a process that another thread forks holds it open. A file, also one
    # in memory, has the limit of a shell's ulimit -f.
    with mmap.mmap(-1, MAX_ANSWER_BYTES) as memory:
        # The child calls HDF5 alone, and h5py holds its lock over a fork: threads do not matter.
        try:
            child = os.fork()
        except OSError as error:
            text = f'no process can be started for it: {error.strerror}'
            raise OSError(error.errno, text) from error
        if not child:
            try:
                gc.disable()  # the destructors of the parent's garbage may call drivers
                serve(memory)
            finally:
                os._exit(1)
        try:
            status = _wait(child)
        except BaseException:  # such as KeyboardInterrupt, which reached this process alone
            os.kill(child, signal.SIGKILL)
            _wait(child)
            raise
        end = _LENGTH_BYTES + int.from_bytes(memory[:_LENGTH_BYTES], 'big')
        return status, memory[_LENGTH_BYTES:end]


def _write_answer(content: bytes, memory: mmap.mmap) -> None:
    """Write an answer, and then its length in front of it, so that no part of one counts."""
    memory[_LENGTH_BYTES : _LENGTH_BYTES + len(content)] = content
    memory[:_LENGTH_BYTES] = len(content).to_bytes(_LENGTH_BYTES, 'big')


def _wait(child: int) -> int:
    """Return the exit status of a child process when it has ended; 0 if nobody knows it."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except ChildProcessError:  # SIGCHLD is ignored, or another thread waits for any child
        return 0


def _serve(
    task: Callable[[h5py.File], Any], source: Source, memory: mmap.mmap, limits: Mapping[int, int]
) -> None:
    """Do a task in the child process, write its result and the description of its error, and exit.

    Args:
        task: Receives the open file.
        source: The path of the file, or the open file.
        memory: Memory for the answer.
        limits: Limits of the child by the constants of ``resource``.
    """
    faulthandler.disable()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):  # where the C library reports what it finds before it ends a process
        os.dup2(nowhere, number)
    for kind, most in limits.items():
        hard = resource.getrlimit(kind)[1]
        # The hard limit of the computation also ends a process that ignores SIGXCPU.
        soft, hard = (most, most + 1) if hard < 0 else (min(most, hard), min(most + 1, hard))
        resource.setrlimit(kind, (soft, hard))
    result: Any = None
    fault: dict[str, Any] | None = None
    try:
        with h5py.File(source, 'r') as file:
            result = task(file)
    except MemoryError as error:
        fault = {'kind': 'memory', 'text': _text(error)}
    except ArrayError as error:
        fault = {'kind': 'content', 'text': _text(error), 'advice': error.advice}
    except Exception as error:  # whatever h5py makes of a damaged file
        code = getattr(error, 'errno', None)
        # HDF5's word where an address is behind the end, and where a size exceeds CHILD_BYTES.
        outside = 'allocation' in str(error)
        text = 'an address or a size in it is outside of the file' if outside else _text(error)
        fault = {'kind': 'content', 'text': text, 'advice': DAMAGED}
        if code is not None:
            fault.update(kind='system', errno=code)
    content = json.dumps([result, fault]).encode()
    if len(content) > MAX_ANSWER_BYTES - _LENGTH_BYTES:
        fault = {'kind': 'content', 'text': 'its names are too long', 'advice': DAMAGED}
        content = json.dumps([None, fault]).encode()
    _write_answer(content, memory)
    os._exit(0)


def _text(error: Exception) -> str:
    """Return the message of an exception in one line; str() would quote that of a KeyError."""
    return ' '.join(str(error.args[-1] if error.args else '').split())


def _memory() -> int:
    """Return the address space of this process in bytes."""
    pages = int(Path('/proc/self/statm').read_text(encoding='ascii').split()[0])
    return pages * resource.getpagesize()
