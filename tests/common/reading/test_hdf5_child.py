"""The child process that reads HDF5 files: its end, its limits, and what others do meanwhile."""

import errno
import io
import os
import resource
import signal
import time

import h5py
import numpy as np
import pytest

from common.reading import hdf5, hdf5_structure
from common.reading.hdf5 import ArrayError


def test_what_hdf5_never_returns_from_is_refused(tmp_path):
    """The heap says that the text has no bytes, and its attribute that it has three."""
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        file.attrs['text'] = 'rgb'
    content = bytearray((tmp_path / 'a.h5').read_bytes())
    size = content.index(b'GCOL') + 24
    assert content[size] == 3
    content[size] = 0
    (tmp_path / 'a.h5').write_bytes(content)
    with pytest.raises(ArrayError, match='reading it does not end'):
        hdf5.attributes(tmp_path / 'a.h5', ['text'])


def test_what_crashes_hdf5_is_refused_without_a_word_of_its_own(tmp_path, monkeypatch, capfd):
    def crash(file):
        os.write(2, b'free(): invalid pointer')
        os.abort()

    h5py.File(tmp_path / 'a.h5', 'w').close()
    monkeypatch.setattr(hdf5_structure, 'list_arrays', crash)
    with pytest.raises(ArrayError, match=r'HDF5 crashes on it \(exit status -6\)'):
        hdf5.list_arrays(tmp_path / 'a.h5')
    assert capfd.readouterr().err == ''


def test_answers_are_bounded_and_need_no_file(tmp_path, monkeypatch):
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        file['W'] = np.zeros(3)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # as ulimit -f 0 of a shell
    try:
        assert hdf5.list_arrays(tmp_path / 'a.h5') == ['W']
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    monkeypatch.setattr(hdf5, 'MAX_ANSWER_BYTES', 200)
    monkeypatch.setattr(hdf5_structure, 'list_arrays', lambda file: ['W' * 300])
    with pytest.raises(ArrayError, match='its names are too long'):
        hdf5.list_arrays(tmp_path / 'a.h5')


def test_a_process_that_inherits_the_descriptors_holds_nothing_up(tmp_path, monkeypatch):
    """As one that another thread forks for hours, such as a worker of a pool."""
    h5py.File(tmp_path / 'a.h5', 'w').close()
    ours, theirs = os.pipe()

    def fork(file):
        if not os.fork():
            os.close(theirs)
            os.read(ours, 1)  # until the test closes the other end
            os._exit(0)
        return ['W']

    monkeypatch.setattr(hdf5_structure, 'list_arrays', fork)
    assert hdf5.list_arrays(tmp_path / 'a.h5') == ['W']
    os.close(theirs)
    os.close(ours)


def test_an_interrupt_leaves_no_process_behind(tmp_path, monkeypatch):
    h5py.File(tmp_path / 'a.h5', 'w').close()

    def interrupt_parent(file):
        (tmp_path / 'pid').write_text(str(os.getpid()))
        time.sleep(0.5)  # by then the parent waits; a signal before does not interrupt the waiting
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(600)

    monkeypatch.setattr(hdf5_structure, 'list_arrays', interrupt_parent)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            hdf5.list_arrays(tmp_path / 'a.h5')
    finally:
        signal.signal(signal.SIGINT, before)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / 'pid').read_text()), 0)


def test_programs_that_ignore_the_end_of_their_children_can_read(tmp_path):
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        file['W'] = np.ones(3, 'f4')
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert hdf5.list_arrays(tmp_path / 'a.h5') == ['W']
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_errors_of_the_system_do_not_blame_the_file(tmp_path, monkeypatch):
    def fork():
        raise BlockingIOError(errno.EAGAIN, 'Resource temporarily unavailable')

    h5py.File(tmp_path / 'a.h5', 'w').close()
    monkeypatch.setattr(os, 'fork', fork)
    with pytest.raises(OSError, match='no process can be started') as caught:
        hdf5.list_arrays(tmp_path / 'a.h5')
    assert hdf5.problem(caught.value, 'a file of weights') == (
        'cannot be read (no process can be started for it: Resource temporarily unavailable)'
    )


def test_errors_of_the_child_are_those_of_the_parent(tmp_path):
    with pytest.raises(FileNotFoundError):
        hdf5.list_arrays(tmp_path / 'none.h5')
    with pytest.raises(ArrayError, match='file signature not found'):
        hdf5.list_arrays(io.BytesIO(b'no HDF5'))
    assert hdf5.problem(MemoryError(), 'a state') == 'needs more memory than there is'
