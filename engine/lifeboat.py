"""The last finished iteration is saved also when the step at hand is not let come to its end.

mpirun passes SIGINT and SIGTERM on as SIGTERM, and kills its processes a quarter of a second after
that, half a second after the signal came. A step may take seconds, all of them in C++, where no
handler of Python runs. So a thread waits for the signal and forks: the child has the memory as it
is, leaves the process group that mpirun kills, and writes the state that was offered. What kills a
whole cgroup (containers, Slurm steps, systemd units) kills the child too.

    with Lifeboat(folder, journal.record, armed=True) as lifeboat:
        for iteration in range(1, last + 1):
            compute_gradients()             # a signal here saves the iteration before
            lifeboat.withdraw()             # what was offered changes from here on
            update()
            lifeboat.offer(lambda: state)   # arrays of it may be those that the update changes
"""

import faulthandler
import gc
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress

from common.errors import UserError
from common.log import LOG
from engine.runs import checkpoints
from engine.runs.checkpoints import TrainingState
from engine.runs.run_folder import KILLED_SECONDS, SAVING_SECONDS, RunFolder
from engine.training.trainer import require_finite

ENDING = (signal.SIGINT, signal.SIGTERM)  # after which a launcher kills
QUICK_SECONDS = 0.05  # that an update may take without a child that stands by
AGAIN_SECONDS = 0.05  # until a child is tried again that could not be made
END = b'\0'  # in place of a signal's number
STANDARD_ERROR = 2
READ, WRITE = 0, 1  # the ends of a pipe
DISMISSED = b'1'


class Lifeboat:
    """Saves, in a child of its own, the state that is offered when a signal comes.

    folder: claimed, where the state is written. record: called in the child with what it has done.
    armed: else nothing happens at all. Handlers of the signals must have been set before, as
    Python's own end the process.
    """

    def __init__(self, folder: RunFolder, record: Callable[[str], None], *, armed: bool):
        self._folder, self._record, self._armed = folder, record, armed
        self._state, self._closed = None, False
        self._changed = threading.Condition()
        self._signalled, self._saved = False, None
        self._working = {}  # of each child that saves a pipe, which ends when it does
        self._withdrawn_at, self._slow, self._standby = None, False, None
        self._warned = False

    def offer(self, state: Callable[[], TrainingState]):
        """From now on ``state()`` is what is saved. What it holds must stay as it is until
        :meth:`withdraw`.
        """
        if not self._armed:
            return
        offered = state()
        with self._changed:
            self._state = offered
            self._changed.notify()
            if not self._signalled:  # else the next child does that, or nobody does
                self._dismiss()
        if self._withdrawn_at is not None:
            self._slow = time.monotonic() - self._withdrawn_at > QUICK_SECONDS

    def withdraw(self):
        """What was offered is about to change. If that takes long, it is saved all the same when
        this process does not live to offer the next.
        """
        if not self._armed:
            return
        with self._changed:
            if self._slow and self._is_due():
                self._stand_by()
            self._state = None
        self._withdrawn_at = time.monotonic()

    def saved(self):
        """What was offered is in the folder already."""
        with self._changed:
            self._saved = self._state
            self._dismiss()

    def wait(self):
        """Until all children have saved, so that none overtakes a newer state."""
        with self._changed:
            working = list(self._working.values())
        for descriptor in working:
            os.read(descriptor, 1)
        with self._changed:
            self._reap()

    def __enter__(self):
        if self._armed:
            self._signals, self._woken = os.pipe()
            os.set_blocking(self._woken, False)
            self._before = signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *exception):
        if not self._armed:
            return
        signal.set_wakeup_fd(self._before)
        with self._changed:
            self._closed = True
            self._changed.notify()
            self._dismiss()
        os.write(self._woken, END)
        self._thread.join()
        self._reap()
        for descriptor in (self._signals, self._woken, *self._working.values()):
            os.close(descriptor)

    def _watch(self):
        """Wait for a signal, and save what is offered from then on: this iteration may be the last
        one that comes to its end, or not.
        """
        while (number := os.read(self._signals, 1)) != END:
            if number[0] in ENDING:
                self._signalled = True
                break
        with self._changed:
            while not self._closed:
                if self._is_due():
                    self._save_aside()
                self._changed.wait(AGAIN_SECONDS if self._is_due() else None)

    def _is_due(self) -> bool:
        """Whether something is offered that nobody saves or has saved."""
        return self._state is not None and self._state is not self._saved

    def _save_aside(self):
        """Make a child that saves what is offered."""
        state = self._state
        if made := self._fork(lambda works: self._save(state), WRITE):
            child, ends = made
            self._working[child] = ends
            self._saved = state
            self._dismiss()

    def _reap(self):
        """Forget the children that have saved; one that still does is not waited for."""
        for child in list(self._working):
            if os.waitpid(child, os.WNOHANG)[0]:
                os.close(self._working.pop(child))

    def _stand_by(self):
        """Make a child that saves what is offered unless it is dismissed."""
        state = self._state
        if made := self._fork(lambda hears: os.read(hears, 1) or self._save(state), READ):
            self._dismiss()  # one whose state is older
            self._standby = made

    def _dismiss(self):
        if self._standby is None:
            return
        (child, tells), self._standby = self._standby, None
        _tell(tells)
        os.close(tells)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

    def _fork(self, work: Callable[[int], object], end: int) -> tuple[int, int] | None:
        """The number of a child that does its work and ends, and this process's end of a pipe to
        it; None where none can be made.

        work: is given the child's end of the pipe; end: which one that is, ``READ`` or ``WRITE``.
        """
        pipe = ()
        try:
            pipe = os.pipe()
            child = os.fork()
        except OSError as error:
            for descriptor in pipe:
                os.close(descriptor)
            self._warn(error)
            return None
        if child:
            os.close(pipe[end])
            return child, pipe[not end]
        status = 1
        try:
            os.close(pipe[not end])
            os.setsid()  # out of reach of what ends the parent
            gc.disable()  # objects of NNabla may wait for threads that are not here
            signal.set_wakeup_fd(-1)
            for number in (*ENDING, signal.SIGUSR1, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            if self._standby is not None:  # its state is older
                _tell(self._standby[1])
            working = self._working.values()
            # Whoever waits for the end of a pipe of the parent's must not wait for this process.
            _close_all_but({0, 1, STANDARD_ERROR, self._folder.descriptor, *working, pipe[end]})
            work(pipe[end])
            status = 0
        except UserError as error:
            _print(f'error: {error}')
            with suppress(UserError):  # the disk may be full
                self._record(f'error: {error}')
        except Exception:
            _print(traceback.format_exc())
        finally:
            os._exit(status)  # what is registered for the end of the process is the parent's

    def _warn(self, error: OSError):
        """Once: what has no memory now may have none for thousands of updates."""
        if not self._warned:
            self._warned = True
            LOG.warning(
                'no process can be made that saves the state when this one is killed (%s): free '
                'memory, or end the job with SIGUSR1',
                error.strerror,
            )

    def _save(self, state: TrainingState):
        """In a child: after those before it, and in bounded time."""

        def give_up(*_):
            raise UserError(
                f'{self._folder.state}: iteration {state.iteration} is not saved within '
                f'{SAVING_SECONDS} s: is the disk overloaded? --resume goes on from what is there'
            )

        signal.signal(signal.SIGALRM, give_up)
        signal.alarm(SAVING_SECONDS)
        # Within a call of C that does not return no handler runs.
        faulthandler.dump_traceback_later(KILLED_SECONDS, exit=True, file=STANDARD_ERROR)
        self._folder.note_saving()
        for descriptor in self._working.values():
            os.read(descriptor, 1)
        require_finite(state.parameters, state.iteration)
        checkpoints.save(self._folder.state, state)
        signal.alarm(0)
        self._record(f'iteration {state.iteration} is saved; --resume goes on from there')


def _tell(descriptor: int):
    """Dismiss a child that stands by. It hears that, or the end of a pipe that nobody holds any
    more: the parent is dead then, without a child that saves a newer state.
    """
    with suppress(BrokenPipeError):  # it is dead
        os.write(descriptor, DISMISSED)


def _print(text: str):
    """On standard error, past Python's file, which another thread may have locked."""
    with suppress(OSError):  # nobody may be left who reads it
        os.write(STANDARD_ERROR, f'{text}\n'.encode())


def _close_all_but(descriptors: set[int | None]):
    for name in os.listdir('/proc/self/fd'):
        if int(name) not in descriptors:
            with suppress(OSError):  # that of the listing itself
                os.close(int(name))
