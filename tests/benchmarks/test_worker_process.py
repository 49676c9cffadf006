"""Worker processes return results and errors, and exit with their parent."""

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

pytestmark = pytest.mark.bench

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
DEADLINE_SECONDS = 60  # the calls in the processes take ten minutes


@pytest.fixture
def process():
    process = WorkerProcess('none', 'try a smaller --size or --batch-size')
    yield process
    process.close()


def test_a_dead_worker_is_named(process):
    with pytest.raises(UserError, match='^none: the process died.*--batch-size$'):
        process.call(os._exit, 1)


def test_an_exception_is_raised_with_its_remote_traceback(process):
    with pytest.raises(ModuleNotFoundError, match='nowhere') as caught:
        process.call(importlib.import_module, 'nowhere')
    assert isinstance(caught.value.__cause__, RemoteError)
    assert 'importlib' in str(caught.value.__cause__)
    assert process.call(abs, -1) == 1


def test_an_exception_that_cannot_be_pickled_is_described(process):
    with pytest.raises(RuntimeError, match='unsendable') as caught:
        process.call(exec, 'raise type("unsendable", (Exception,), {})()')
    assert isinstance(caught.value.__cause__, RemoteError)


def test_closing_interrupts_a_call(process, monkeypatch):
    monkeypatch.setattr('benchmarks.worker_process.EXIT_TIMEOUT_SECONDS', 600)
    process._connection.send((time.sleep, (600,)))
    started = time.monotonic()
    process.close()
    assert time.monotonic() - started < DEADLINE_SECONDS


@pytest.mark.parametrize('number', SIGNALS)
def test_a_worker_exits_with_its_parent(number, tmp_path):
    code = """
        import os, time
        from benchmarks.worker_process import WorkerProcess
        process = WorkerProcess('busy')
        record(process.call(os.getpid))
        try:
            process.call(time.sleep, 600)
        finally:
            process.close()
        """
    assert_exit_on(number, start(code, tmp_path), count=1)


@pytest.mark.parametrize('number', SIGNALS)
def test_all_processes_exit_with_the_suite(number, tmp_path):
    """The worker of the suite, and that worker's own worker."""
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
    assert_exit_on(number, start(code, tmp_path), count=2)


@pytest.mark.parametrize('number', SIGNALS)
def test_the_pytorch_process_exits_with_its_parent(number, tmp_path):
    """A fake torch takes ten minutes for its first call."""
    write_fake_torch(
        tmp_path,
        'import os, time\n'
        'def set_num_threads(count):\n'
        '    with open(os.environ["PIDS"], "a") as file:\n'
        '        file.write(f"{os.getpid()}\\n")\n'
        '    time.sleep(600)\n',
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
    assert_exit_on(number, start(code, tmp_path), count=1)


def test_the_last_error_line_of_a_dead_pytorch_process_is_quoted(tmp_path, monkeypatch):
    """Each process has a separate file for its errors."""
    write_fake_torch(
        tmp_path,
        'import os, sys\n'
        'def set_num_threads(count):\n'
        '    print("no room for", count, file=sys.stderr, flush=True)\n'
        '    os._exit(1)\n',
    )
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    for count in (3, 4):
        with pytest.raises(UserError, match=rf'^peer {count}: .*last line: no room for {count}\)'):
            PyTorchProcess(
                f'peer {count}', sys.executable, tmp_path, tmp_path, count, 'start_training',
                device='cpu', channels_last=False, precision='float32', rate=0, momentum=0,
                weight_decay=0,
            )  # fmt: skip


def write_fake_torch(folder: Path, code: str):
    """Write a package torch with ``code`` in its ``__init__.py``."""
    torch = folder / 'torch'
    (torch / 'nn').mkdir(parents=True)
    (torch / 'nn' / '__init__.py').touch()
    (torch / 'nn' / 'functional.py').touch()
    (torch / '__init__.py').write_text(code)


def start(code: str, folder: Path) -> tuple[subprocess.Popen, Path]:
    """Start a program that writes the process ids of its workers into a file, ``PIDS``."""
    pids = folder / 'pids'
    head = f"""
        import signal
        from pathlib import Path
        signal.signal(signal.SIGINT, signal.default_int_handler)  # the parent may ignore it
        PIDS = Path({str(pids)!r})
        def record(pid):
            with PIDS.open('a') as file:
                file.write(f'{{pid}}\\n')
        """
    program = subprocess.Popen(
        [sys.executable, '-c', textwrap.dedent(head) + textwrap.dedent(code)],
        cwd=programs.PROJECT,
        stderr=subprocess.DEVNULL,
    )
    return program, pids


def assert_exit_on(number: int, started: tuple[subprocess.Popen, Path], count: int):
    """Send a signal to the program; it and its ``count`` recorded processes must exit soon."""
    program, pids = started
    found = []
    try:
        assert wait_for(lambda: pids.exists() and pids.read_text().count('\n') == count)
        found = [int(line) for line in pids.read_text().split()]
        assert all(map(is_running, found))
        program.send_signal(number)
        assert wait_for(lambda: program.poll() is not None)
        assert wait_for(lambda: not any(map(is_running, found)))
    finally:
        program.kill()
        program.wait()
        for pid in filter(is_running, found):
            os.kill(pid, signal.SIGKILL)


def wait_for(condition) -> bool:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def is_running(pid: int) -> bool:
    """Return whether the process exists and is not a zombie."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] not in 'ZX'
    except (FileNotFoundError, ProcessLookupError):
        return False
