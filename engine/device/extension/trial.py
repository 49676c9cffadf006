"""Try the import of the CUDA extension in a child process, and turn a crash into a message."""

import ctypes
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec

from common import PROJECT
from common.errors import UserError
from common.launcher import environment_without_launcher
from common.log import LOG
from common.reading import json_text
from engine.device import libraries
from engine.device.extension import findings, importing
from engine.device.extension.findings import Findings

CHILD_SECONDS = 120  # a child that takes longer counts as hanging
# Arguments with which the child loads libmpi with global symbols first, or does not import mpi4py.
GLOBAL, WITHOUT_MPI = 'global', 'without_mpi'
# Stages of the child; its other stage is called like the extension's module.
MPI4PY, COMMUNICATOR = 'mpi4py', 'the communicator'
SIGNALS: dict[int, str] = {
    signal.SIGSEGV: 'a segmentation fault',
    signal.SIGABRT: 'an abort',
    signal.SIGBUS: 'a bus error',
    signal.SIGILL: 'an illegal instruction',
    signal.SIGFPE: 'an arithmetic error',
}


def examine() -> Findings:
    """Find out in a child process whether the extension can be imported.

    A recorded success makes the child unnecessary.
    """
    problem = _obvious_problem()
    if problem:
        return Findings(problem)
    are_global = importing.symbols_are_global()
    path = findings.path_of(are_global)
    found = findings.read(path)
    if found is None:
        LOG.info('importing %s in a child process first', importing.MODULE)
        found = _run_child(are_global)
        if not (found.problem or found.communicator_problem):
            findings.write(path, found)
    return found


def _obvious_problem() -> str | None:
    """Return a problem that needs no child process to detect; None if there is none."""
    if find_spec('nnabla_ext') is None or find_spec(importing.MODULE) is None:
        return f'nnabla-ext-cuda120 is not installed: {importing.INSTALL_CUDA}'
    try:
        ctypes.CDLL(findings.DRIVER, mode=libraries.LOCAL)
    except OSError:
        return f'no NVIDIA driver: {findings.DRIVER} is missing'
    return None


def name_of_signal(number: int) -> str:
    """Return the name of a signal, or its number if it has no name, such as a real-time signal."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _run_child(are_global: bool, with_mpi: bool = True) -> Findings:
    """Import the extension in a child process and return its findings.

    If mpi4py crashes, a second child tries without it.

    Args:
        are_global: Whether the child loads libmpi with global symbols, as this process has done.
        with_mpi: Whether the child imports mpi4py.
    """
    try:
        # The folder collects the files that a crashing child does not remove.
        with tempfile.TemporaryDirectory(prefix='nnseg-', ignore_cleanup_errors=True) as folder:
            child = subprocess.run(
                [
                    *(sys.executable, '-m', 'engine.device.extension.child'),
                    *[GLOBAL] * are_global,
                    *[WITHOUT_MPI] * (not with_mpi),
                ],
                cwd=PROJECT,
                env={**environment_without_launcher(), 'TMPDIR': folder},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors='replace',
                timeout=CHILD_SECONDS,
            )
    except subprocess.TimeoutExpired as error:
        announced, stage = _announced(error.stdout)
        ending = f'the import of {stage} takes more than {CHILD_SECONDS} seconds'
    except OSError as error:
        return Findings(f'cannot start a process to import {importing.MODULE} ({error.strerror})')
    else:
        announced, stage = _announced(child.stdout)
        if not child.returncode:
            return Findings.from_json(announced)
        ending = _describe_end(child, stage)
    if stage == MPI4PY and with_mpi:
        return replace(_run_child(are_global, with_mpi=False), communicator_problem=ending)
    key = 'communicator_problem' if stage == COMMUNICATOR else 'problem'
    return Findings.from_json({**announced, key: ending})


def _announced(output: str | bytes | None) -> tuple[dict, str]:
    """Parse a child's output into its findings and the last stage that it announced."""
    text = output.decode(errors='replace') if isinstance(output, bytes) else output or ''
    announced = {}
    for line in text.splitlines():
        with suppress(UserError):  # a crash may truncate a line, and libraries print others
            announced.update(json_text.parse(line, 'the child process', dict))
    return announced, announced.pop('stage', 'a child process')


def _describe_end(child: subprocess.CompletedProcess, stage: str) -> str:
    """Describe in one line how a failed child ended."""
    if child.returncode < 0:
        name = name_of_signal(-child.returncode)
        ending = SIGNALS.get(-child.returncode, f'the signal {name}')
    else:
        ending = f'status {child.returncode}'
    install = findings.INSTALL_MPI if stage == MPI4PY else importing.INSTALL_CUDA
    errors = child.stderr.strip().splitlines()[-1:] if child.returncode > 0 else []
    advice = '; '.join([*errors, f'{install} --force-reinstall may help'])
    return f'the import of {stage} ends with {ending}: {advice}'
