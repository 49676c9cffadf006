"""Signals stop train.py: the state is saved, no worker is left, and the run can be resumed."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from contextlib import suppress

import pytest

from engine.inference.predictor import Predictor
from engine.runs import checkpoints
from support import mpi_jobs, programs, train_runs
from support.train_runs import Training, assert_same_run, children, handle, signalled


@pytest.mark.parametrize('iteration', [1, 8, 9, 10])
def test_a_signal_saves_the_state_and_stops(iteration, uninterrupted, data, tmp_path):
    """Iterations between two saves, at a save, and the last one."""
    training = Training(data, tmp_path, ema_decay=0.9)
    run = tmp_path / 'run'
    with signalled(iteration, signal.SIGTERM):
        assert training('run', '--workers', 1) == 143
    assert not children()
    assert checkpoints.load_facts(run / 'state.h5')['iteration'] == iteration
    assert not (run / 'final.h5').exists()
    with signalled(min(iteration + 1, 10), signal.SIGINT):
        assert training('run', '--workers', 0, '--resume') in (130, 0)
    assert_same_run(training.whole('run', '--workers', 0, '--resume'), uninterrupted)


def test_a_signal_interrupts_validation_and_saving_at_once(
    uninterrupted, data, tmp_path, monkeypatch
):
    training = Training(data, tmp_path, '--workers', 0, ema_decay=0.9)
    for function, owner in (('labels', Predictor), ('save', checkpoints)):
        calls, original = [], getattr(owner, function)

        def interrupted(*arguments, calls=calls, original=original, **words):
            calls.append(True)
            if len(calls) == 2:
                handle(signal.SIGTERM)
            return original(*arguments, **words)

        monkeypatch.setattr(owner, function, interrupted)
        assert training(function) == 143
        monkeypatch.undo()
        assert len(calls) == 2
        assert_same_run(training.whole(function, '--resume'), uninterrupted)


@pytest.mark.parametrize(
    ('number', 'status'), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 143)]
)
def test_a_signal_to_the_process_group_of_the_command(number, status, data, tmp_path):
    """Schedulers and terminals signal the whole group; one line reports it, no worker is left."""
    training = Training(data, tmp_path, '--workers', 2, max_iter=2000)
    process = subprocess.Popen(
        [sys.executable, programs.PROJECT / 'train.py', *training.arguments('run')],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    log = tmp_path / 'run' / 'train.log'
    assert mpi_jobs.wait_for(lambda: log.exists() and 'iteration 6/' in log.read_text())
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == status, err
    assert err.count('stopped after iteration') == 1
    assert 'Traceback' not in err
    iteration = checkpoints.load_facts(tmp_path / 'run' / 'state.h5')['iteration']
    assert f'stopped after iteration {iteration}, which is saved' in err
    time.sleep(0.1)
    path = f'{tmp_path}'.encode()
    assert not [line for line in train_runs.command_lines() if path in line]


@pytest.fixture
def hang_up():
    """Give SIGHUP its default handler, also if the tests themselves run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures('hang_up')
def test_several_signals_of_a_closed_terminal_are_one(data, tmp_path):
    """None of them interrupts the step at hand, whose state could then not be saved."""
    training = Training(data, tmp_path, '--workers', 0)
    with signalled(2, signal.SIGHUP, signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
        assert training('run') == 143
    assert checkpoints.load_facts(tmp_path / 'run' / 'state.h5')['iteration'] == 2


@pytest.mark.parametrize('nohup', [False, True])
def test_a_closed_terminal_loses_nothing(nohup, data, tmp_path):
    """The run saves its state and stops; under nohup it trains on. Both keep train.log whole."""
    training = Training(data, tmp_path, '--workers', 1, max_iter=40 if nohup else 2000)
    ours, theirs = pty.openpty()

    def start():
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_IGN if nohup else signal.SIG_DFL)

    process = subprocess.Popen(
        [sys.executable, programs.PROJECT / 'train.py', *training.arguments('run')],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, preexec_fn=start,
    )  # fmt: skip
    os.close(theirs)
    log = tmp_path / 'run' / 'train.log'
    assert mpi_jobs.wait_for(lambda: log.exists() and 'iteration 6/' in log.read_text())
    os.close(ours)  # the kernel sends SIGHUP, a shell would send another to the whole job
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGHUP)
    assert process.wait(60) == (0 if nohup else 129)
    iteration = checkpoints.load_facts(tmp_path / 'run' / 'state.h5')['iteration']
    text = log.read_text()
    if nohup:
        assert iteration == 40
        assert text.endswith('final.h5: the trained weights\n')
    else:
        assert f'stopped after iteration {iteration}, which is saved' in text
