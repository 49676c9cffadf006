"""Contestants' processes: what comes back, and that they end with whoever started them."""

import importlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from benchmarks.peer import PyTorchProcess
from benchmarks.worker_process import RemoteError, WorkerProcess
from common.errors import UserError
from support import programs

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
PATIENCE = 60  # seconds; what is asked of the processes takes ten minutes


@pytest.fixture
def process():
    process = WorkerProcess('none', 'try a smaller --size or --batch-size')
    yield process
    process.close()


def test_a_contestant_that_dies_is_named(process):
    with pytest.raises(UserError, match='^none: the process died.*--batch-size$'):
        process.call(os._exit, 1)


def test_an_exception_comes_back_with_its_traceback(process):
    with pytest.raises(ModuleNotFoundError, match='nowhere') as caught:
        process.call(importlib.import_module, 'nowhere')
    assert isinstance(caught.value.__cause__, RemoteError)
    assert 'importlib' in str(caught.value.__cause__)
    assert process.call(abs, -1) == 1


def test_an_exception_that_cannot_be_sent_is_told(process):
    with pytest.raises(RuntimeError, match='unsendable') as caught:
        process.call(exec, 'raise type("unsendable", (Exception,), {})()')
    assert isinstance(caught.value.__cause__, RemoteError)


def test_closing_does_not_wait(process, monkeypatch):
    monkeypatch.setattr('benchmarks.worker_process.EXIT_TIMEOUT_SECONDS', 600)
    process._connection.send((time.sleep, (600,)))
    started = time.monotonic()
    process.close()
    assert time.monotonic() - started < PATIENCE


@pytest.mark.parametrize('number', SIGNALS)
def test_a_contestant_ends_with_the_benchmark(number, tmp_path):
    code = """
        import os, time
        from benchmarks.worker_process import WorkerProcess
        process = WorkerProcess('busy')
        tell(process.call(os.getpid))
        try:
            process.call(time.sleep, 600)
        finally:
            process.close()
        """
    assert_ended_by(number, start(code, tmp_path), count=1)


@pytest.mark.parametrize('number', SIGNALS)
def test_all_ends_with_the_suite(number, tmp_path):
    """The command that it runs, and that one's contestants."""
    command = tmp_path / 'command.py'
    command.write_text(
        textwrap.dedent("""
        import argparse, os, time
        from pathlib import Path
        from benchmarks.worker_process import WorkerProcess

        def build_parser():
            parser = argparse.ArgumentParser()
            parser.add_argument('pids', type=Path)
            parser.add_argument('--json')
            return parser

        def main(args):
            process = WorkerProcess('busy')
            with args.pids.open('a') as file:
                file.write(f'{os.getpid()}\\n{process.call(os.getpid)}\\n')
            process.call(time.sleep, 600)
        """)
    )
    code = f"""
        from benchmarks import suite
        suite._run_command({str(command)!r}, [PIDS], PIDS.parent)
        """
    assert_ended_by(number, start(code, tmp_path), count=2)


@pytest.mark.parametrize('number', SIGNALS)
def test_the_program_of_a_peer_ends_with_the_benchmark(number, tmp_path):
    """With a torch that takes ten minutes for the first thing that is asked of it."""
    torch = tmp_path / 'torch'
    (torch / 'nn').mkdir(parents=True)
    (torch / 'nn' / '__init__.py').touch()
    (torch / 'nn' / 'functional.py').touch()
    (torch / '__init__.py').write_text(
        'import os, time\n'
        'def set_num_threads(count):\n'
        '    with open(os.environ["PIDS"], "a") as file:\n'
        '        file.write(f"{os.getpid()}\\n")\n'
        '    time.sleep(600)\n'
    )
    code = f"""
        import os, sys
        from benchmarks.peer import PyTorchProcess
        os.environ.update(PIDS=str(PIDS), PYTHONPATH={str(tmp_path)!r})
        PyTorchProcess(
            'peer', sys.executable, PIDS.parent, PIDS.parent, 1, 'start_training',
            device='cpu', channels_last=False, precision='float32', rate=0, momentum=0,
            weight_decay=0,
        )
        """
    assert_ended_by(number, start(code, tmp_path), count=1)


def test_the_last_words_of_a_peer_that_dies_are_quoted(tmp_path, monkeypatch):
    """Its own: another one's are in another file."""
    torch = tmp_path / 'torch'
    (torch / 'nn').mkdir(parents=True)
    (torch / 'nn' / '__init__.py').touch()
    (torch / 'nn' / 'functional.py').touch()
    (torch / '__init__.py').write_text(
        'import os, sys\n'
        'def set_num_threads(count):\n'
        '    print("no room for", count, file=sys.stderr, flush=True)\n'
        '    os._exit(1)\n'
    )
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    for count in (3, 4):
        with pytest.raises(UserError, match=rf'^peer {count}: .*last line: no room for {count}\)'):
            PyTorchProcess(
                f'peer {count}', sys.executable, tmp_path, tmp_path, count, 'start_training',
                device='cpu', channels_last=False, precision='float32', rate=0, momentum=0,
                weight_decay=0,
            )  # fmt: skip


def start(code: str, folder: Path) -> tuple[subprocess.Popen, Path]:
    """A program that writes the numbers of the processes that it starts into a file, ``PIDS``."""
    pids = folder / 'pids'
    head = f"""
        import signal
        from pathlib import Path
        signal.signal(signal.SIGINT, signal.default_int_handler)  # may be inherited as ignored
        PIDS = Path({str(pids)!r})
        def tell(pid):
            with PIDS.open('a') as file:
                file.write(f'{{pid}}\\n')
        """
    program = subprocess.Popen(
        [sys.executable, '-c', textwrap.dedent(head) + textwrap.dedent(code)],
        cwd=programs.PROJECT,
        stderr=subprocess.DEVNULL,
    )
    return program, pids


def assert_ended_by(number: int, started: tuple[subprocess.Popen, Path], count: int):
    """A signal ends the program and, in little time, the processes of which it has told."""
    program, pids = started
    found = []
    try:
        assert wait_for(lambda: pids.exists() and pids.read_text().count('\n') == count)
        found = [int(line) for line in pids.read_text().split()]
        assert all(map(runs, found))
        program.send_signal(number)
        assert wait_for(lambda: program.poll() is not None)
        assert wait_for(lambda: not any(map(runs, found)))
    finally:
        program.kill()
        program.wait()
        for pid in filter(runs, found):
            os.kill(pid, signal.SIGKILL)


def wait_for(condition) -> bool:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def runs(pid: int) -> bool:
    """Whether there is such a process that has not ended."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] not in 'ZX'
    except (FileNotFoundError, ProcessLookupError):
        return False
