"""The loader's worker processes: they exit with the loader, and their memory is bounded."""

import gc
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from datasets.dataset import Dataset
from datasets.loading.augmentations import ShortSides
from support.numbered_dataset import (
    COUNT,
    equal,
    has_exited,
    load,
    take,
    worker_pids,
    write_dataset,
)
from support.programs import PROJECT

SUPPORT = PROJECT / 'tests' / 'support'


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp('data'))


def test_slicing_and_closing_stop_the_workers(dataset):
    """A slice continues at the position of its loader; the loader can continue as well."""
    with load(dataset, workers=0) as reference:
        first, second = take(reference, 2)
    whole = load(dataset, workers=1)
    assert equal([whole.next()], [first])
    workers = worker_pids(whole)
    with whole.slice() as loader:
        assert all(map(has_exited, workers))
        assert equal([loader.next()], [second])
        workers = worker_pids(loader)
        assert len(workers) == 1 and not any(map(has_exited, workers))
    assert all(map(has_exited, workers))
    with whole:
        assert equal([whole.next()], [second])


def test_a_killed_worker_is_reported(dataset):
    with load(dataset, workers=1) as loader:
        loader.next()
        (process,) = loader._pool._processes.values()
        process.kill()
        with pytest.raises(UserError, match='a worker process of the loader died .SIGKILL'):
            take(loader, 50)


class _Unimportable:
    """An object that cannot be unpickled, like one of the main program's own classes."""

    def __reduce__(self):
        return exec, ("raise ImportError('not available in a worker')",)


def test_workers_that_cannot_start_are_reported_and_closed(dataset, capfd):
    broken = Dataset(dataset.info, 'train', dataset.samples, _Unimportable())
    gc.collect()  # closes files that other tests left open
    files = len(os.listdir('/proc/self/fd'))
    with load(broken, workers=2) as loader, pytest.raises(UserError, match='died .status 1'):
        loader.next()
    assert 'not available in a worker' in capfd.readouterr().err
    assert len(os.listdir('/proc/self/fd')) == files


def test_memory_is_bounded_and_reused(dataset):
    """The memory of a batch is reused once its arrays are gone; arrays in use stay unchanged."""
    with load(dataset, workers=1, prefetch=2) as loader:
        kept = loader.next()
        copy = kept[0].copy()
        for _ in range(30):
            loader.next()
        assert os.fstat(loader._pool.memory.file).st_size <= 6 * kept[0].nbytes
        assert np.array_equal(kept[0], copy)
    assert np.array_equal(kept[0], copy), 'arrays must stay valid after the loader is closed'
    with load(dataset, ShortSides((8, 16, 32), 48), workers=1, prefetch=2) as loader:
        for _ in range(30):
            loader.next()
        assert os.fstat(loader._pool.memory.file).st_size <= 4 * (3 * 32 * 48 * 16 + 4096)
    with pytest.raises(ValueError, match='closed'):
        loader.next()


def test_no_process_remains_when_the_program_is_killed(tmp_path):
    """No named shared memory remains either. SIGINT to the process group imitates Ctrl-C."""
    endings = signal.SIGKILL, signal.SIGTERM, signal.SIGINT
    program = subprocess.Popen(
        [sys.executable, SUPPORT / 'killed_loader.py', tmp_path, *'211'],
        stdout=subprocess.PIPE,
        text=True,
    )
    loaders = json.loads(program.stdout.readline())
    for loader, *workers in loaders:
        assert workers
        maps = [Path(f'/proc/{pid}/maps').read_text() for pid in (loader, *workers)]
        assert 'memfd:batches' in maps[0]
        assert not any('/dev/shm/' in mapped for mapped in maps)
    for ending, (loader, *_) in zip(endings, loaders):
        if ending == signal.SIGINT:
            os.killpg(loader, ending)
        else:
            os.kill(loader, ending)
    program.communicate(timeout=20)
    deadline = time.monotonic() + 10
    workers = [pid for _, *own in loaders for pid in own]
    while not all(map(has_exited, workers)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert all(map(has_exited, workers))
    for index, ending in enumerate(endings):
        errors = (tmp_path / str(index) / 'errors').read_text()
        assert errors.count('Traceback') == (ending == signal.SIGINT), 'workers must be silent'


def test_ranks_of_an_mpi_job_load_disjoint_samples(tmp_path):
    """Each of two ranks starts a worker after MPI; together they load every sample."""
    mpirun = Path(sys.prefix) / 'bin' / 'mpirun'
    if not mpirun.exists():
        pytest.skip('needs mpirun')
    for rank in range(2):
        (tmp_path / str(rank)).mkdir()
    program = [sys.executable, SUPPORT / 'loader_on_ranks.py', tmp_path]
    process = subprocess.run(
        [mpirun, '-n', '2', '--allow-run-as-root', '--oversubscribe', *program],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    ranks = json.loads(process.stdout)
    assert sorted(ranks[0] + ranks[1]) == list(range(COUNT))
    assert not set(ranks[0]) & set(ranks[1])
