"""A child saves what is offered, after a signal and when its parent is killed in an update."""

import errno
import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager

import nnabla as nn
import nnabla.functions as F
import nnabla.solvers as S
import numpy as np
import pytest

import helpers
from common.errors import UserError
from engine import lifeboat
from engine.lifeboat import Lifeboat
from engine.runs import checkpoints, run_folder
from engine.runs.checkpoints import TrainingState
from engine.runs.run_folder import RunFolder
from mpi_jobs import wait_for


@pytest.fixture
def folder(tmp_path):
    """Claimed by this process."""
    folder = RunFolder(tmp_path / 'run')
    folder.claim(resume=False)
    yield folder
    folder.release()


def make_state(iteration, size=10):
    """Its weights tell the iteration."""
    return TrainingState(
        iteration=iteration,
        parameters={'W': np.full(size, iteration, np.float32)},
        solver={},
        average=None,
        loader={},
        loss_scale=None,
        best=None,
        seed=0,
        config={},
        processes=2,
        options={},
        versions={},
    )


@contextmanager
def boarded(folder):
    """An armed lifeboat."""
    with Lifeboat(folder, (folder.path / 'log').write_text, armed=True) as boat:
        yield boat


def send_term(boat):
    """What SIGTERM does to the lifeboat; the process of the tests itself must never get it."""
    os.write(boat._woken, bytes([signal.SIGTERM]))


@contextmanager
def forked(work):
    """A process that does ``work()``, and is killed at the end of the block."""
    process = multiprocessing.get_context('fork').Process(target=work)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def saved(folder) -> int | None:
    """The iteration in the folder's state."""
    return checkpoints.load(folder.state).iteration if folder.state.exists() else None


def test_what_is_offered_is_saved_though_it_changes_soon_after(folder):
    state = make_state(3)
    with boarded(folder) as boat:
        boat.offer(lambda: state)
        send_term(boat)
        assert wait_for(lambda: boat._saved is state)
        boat.withdraw()
        state.parameters['W'][:] = -1
        boat.wait()
    found = checkpoints.load(folder.state)
    assert found.iteration == 3
    assert (found.parameters['W'] == 3).all()
    told = (folder.path / 'log').read_text()
    assert told == 'iteration 3 is saved; --resume goes on from there'


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_what_is_offered(folder, number):
    """A real one, in a process of its own, whose handler does not end it."""
    ready = multiprocessing.get_context('fork').Event()

    def train():
        signal.signal(number, lambda *_: None)
        with boarded(folder) as boat:
            boat.offer(lambda: make_state(3))
            ready.set()
            time.sleep(600)

    with forked(train) as process:
        assert ready.wait(60)
        os.kill(process.pid, number)
        assert wait_for(folder.state.exists)
        assert process.is_alive()
    assert saved(folder) == 3


def test_without_a_signal_or_an_offer_nothing_is_saved(folder):
    with boarded(folder) as boat:
        boat.offer(lambda: make_state(3))
        boat.withdraw()
        send_term(boat)
        time.sleep(0.2)
        boat.wait()
        assert not folder.state.exists()
        boat.offer(lambda: make_state(4))  # the next iteration has come to its end
        assert wait_for(folder.state.exists)
    assert saved(folder) == 4


def test_what_is_saved_already_is_not_saved_again(folder, monkeypatch):
    monkeypatch.setattr(lifeboat, 'QUICK_SECONDS', -1)
    with boarded(folder) as boat:
        boat.withdraw()
        boat.offer(lambda: make_state(3))
        boat.saved()
        send_term(boat)
        assert wait_for(lambda: boat._signalled)
        boat.withdraw()
        assert boat._standby is None
        boat.wait()
    assert not folder.state.exists()


def test_each_state_is_saved_once_in_their_order(folder, monkeypatch):
    """However many signals come; one that takes long does not overtake the next."""
    save = checkpoints.save

    def slow(path, state):
        with open(folder.path / 'calls', 'a') as calls:
            calls.write(f'{state.iteration} ')
        time.sleep(0.5 if state.iteration == 3 else 0)
        save(path, state)

    monkeypatch.setattr(checkpoints, 'save', slow)
    with boarded(folder) as boat:
        for iteration in (3, 4):
            state = make_state(iteration)
            boat.offer(lambda state=state: state)
            for _ in range(5):
                send_term(boat)
            assert wait_for(lambda state=state: boat._saved is state)
            boat.withdraw()
        boat.wait()
        assert saved(folder) == 4
    assert (folder.path / 'calls').read_text() == '3 4 '


def test_without_arms_it_does_nothing(folder):
    with Lifeboat(folder, print, armed=False) as boat:
        boat.offer(lambda: pytest.fail('is not asked for the state'))
        boat.withdraw()
        boat.wait()
        assert signal.set_wakeup_fd(-1) == -1


def test_weights_that_are_no_numbers_do_not_replace_a_good_state(folder, capfd):
    checkpoints.save(folder.state, make_state(2))
    with boarded(folder) as boat:
        boat.offer(lambda: make_state(np.nan))
        send_term(boat)
        assert wait_for(lambda: boat._working)
        boat.wait()
    assert saved(folder) == 2
    assert 'error: the parameter W is not finite' in capfd.readouterr().err


def test_a_full_disk_leaves_the_state_before(folder, capfd):
    checkpoints.save(folder.state, make_state(2))
    with boarded(folder) as boat, helpers.full_disk(2000):
        boat.offer(lambda: make_state(3, size=1000))
        send_term(boat)
        assert wait_for(lambda: boat._working)
        boat.wait()
    assert saved(folder) == 2
    error = f'error: {folder.state}: cannot be written'
    assert error in capfd.readouterr().err
    assert error in (folder.path / 'log').read_text()
    assert sorted(path.name for path in folder.path.iterdir()) == ['lock', 'log', 'state.h5']


@pytest.mark.parametrize('hangs', [False, True])
def test_a_disk_that_takes_too_long_leaves_the_state_before(folder, hangs, monkeypatch, capfd):
    """hangs: in C, where no handler of Python runs."""

    def fsync(descriptor):
        if hangs:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        time.sleep(600)

    monkeypatch.setattr(os, 'fsync', fsync)
    monkeypatch.setattr(lifeboat, 'SAVING_SECONDS', 1)
    monkeypatch.setattr(lifeboat, 'KILLED_SECONDS', 2)
    with boarded(folder) as boat:
        boat.offer(lambda: make_state(3))
        send_term(boat)
        assert wait_for(lambda: boat._working)
        boat.wait()
    errors = capfd.readouterr().err
    if hangs:
        assert 'Timeout' in errors
    else:
        error = f'error: {folder.state}: iteration 3 is not saved within 1 s'
        assert error in errors
        assert error in (folder.path / 'log').read_text()
        assert sorted(path.name for path in folder.path.iterdir()) == ['lock', 'log']
    assert not folder.state.exists()


@pytest.fixture
def ticks():
    """A list that a thread makes longer whenever another one lets it, which Python does not."""
    ticks, ended = [], threading.Event()

    def tick():
        while not ended.wait(0.001):
            ticks.append(None)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    thread = threading.Thread(target=tick)
    thread.start()
    yield ticks
    sys.setswitchinterval(interval)
    ended.set()
    thread.join()


def test_the_thread_that_waits_for_signals_runs_while_nnabla_computes(ticks):
    """A step is little else than these."""
    images, kernel = nn.Variable((1, 32, 256, 256)), nn.Variable((32, 32, 3, 3), need_grad=True)
    weights = nn.Variable((5_000_000,), need_grad=True)
    images.d, kernel.d, weights.d, weights.g = 1, 1, 1, 1
    features = F.convolution(images, kernel, pad=(1, 1))
    solver = S.Momentum()
    solver.set_parameters({'weights': weights})

    def lets_tick(compute):
        before = len(ticks)
        compute()
        return len(ticks) > before

    for compute in (features.forward, features.backward, solver.update):
        assert wait_for(lambda compute=compute: lets_tick(compute)), compute


def test_children_that_have_saved_are_no_zombies(folder):
    with boarded(folder) as boat:
        boat.offer(lambda: make_state(3))
        send_term(boat)
        assert wait_for(lambda: boat._working)
        (child,) = boat._working
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        boat.wait()
        assert not boat._working
        with pytest.raises(ChildProcessError):
            os.waitpid(child, 0)


@pytest.mark.parametrize('offers', [False, True])
def test_killed_in_a_long_update_the_state_before_is_saved(folder, offers, monkeypatch):
    """Not any more when the update has come to its end."""
    monkeypatch.setattr(lifeboat, 'QUICK_SECONDS', -1)
    ready = multiprocessing.get_context('fork').Event()

    def train():
        with boarded(folder) as boat:
            boat.withdraw()
            state = make_state(3)
            boat.offer(lambda: state)
            boat.withdraw()
            state.parameters['W'][:] = -1
            if offers:
                boat.offer(lambda: make_state(4))
            ready.set()
            time.sleep(600)

    with forked(train):
        assert ready.wait(60)
    if offers:
        time.sleep(0.5)
        assert saved(folder) is None
    else:
        assert wait_for(folder.state.exists)
        assert (checkpoints.load(folder.state).parameters['W'] == 3).all()


@pytest.mark.parametrize('what', ['fork', 'pipe'])
def test_without_room_for_a_child_it_is_tried_again(folder, what, monkeypatch, caplog):
    """And told once; a child that stands by stays until there is another."""
    monkeypatch.setattr(lifeboat, 'QUICK_SECONDS', -1)
    tries = []

    def fails():
        tries.append(what)
        raise OSError(errno.EAGAIN, 'no room')

    with boarded(folder) as boat:
        boat.withdraw()
        boat.offer(lambda: make_state(3))
        boat.withdraw()
        standby = boat._standby
        assert standby is not None
        send_term(boat)
        assert wait_for(lambda: boat._signalled)
        with monkeypatch.context() as patch:
            patch.setattr(lifeboat.os, what, fails)
            for iteration in (4, 5):
                state = make_state(iteration)
                boat.offer(lambda state=state: state)
                before = len(tries)
                assert wait_for(lambda before=before: len(tries) > before + 2)
                boat.withdraw()
                assert boat._standby is standby
            boat.offer(lambda: make_state(6))
        assert wait_for(folder.state.exists)
        assert wait_for(lambda: boat._standby is None)
    assert saved(folder) == 6
    assert len(caplog.messages) == 1
    assert '(no room): free memory, or end the job with SIGUSR1' in caplog.text


def test_a_folder_in_which_a_child_saves_is_waited_for(folder, monkeypatch, caplog):
    caplog.set_level('INFO')
    save = checkpoints.save

    def slow(*arguments):
        time.sleep(1)
        save(*arguments)

    monkeypatch.setattr(checkpoints, 'save', slow)
    other = RunFolder(folder.path)
    other.settle()  # a run that trains is not waited for
    with boarded(folder) as boat:
        boat.offer(lambda: make_state(3))
        send_term(boat)
        assert wait_for(lambda: folder.lock.read_text().endswith('(saving)'))
        folder.release()  # as when this process is killed
        with pytest.raises(UserError, match='process .* \\(saving\\) is training there; wait'):
            other.claim(resume=False)
        with monkeypatch.context() as patch, pytest.raises(UserError, match='process .* end it'):
            patch.setattr(run_folder, 'SETTLED_SECONDS', 0)
            other.settle()
        caplog.clear()
        other.settle()
        assert saved(folder) == 3
        told = [message for message in caplog.messages if 'waiting for process' in message]
        assert len(told) == 1
        other.claim(resume=True)
        other.release()
