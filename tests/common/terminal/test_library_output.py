"""Lines that C libraries print while a file is decoded, and Pillow's warnings."""

import ctypes
import faulthandler
import logging
import os
import signal
import subprocess
import sys
import threading
import warnings

import pytest

from common import log
from common.terminal.library_output import hidden_c_output
from support import programs


@pytest.fixture
def print_in_c():
    """Print a line as libjpeg does: ``fprintf(stderr, ...)``."""
    library = ctypes.CDLL(None)
    stream = ctypes.c_void_p.in_dll(library, 'stderr')
    return lambda line: library.fprintf(ctypes.c_void_p(stream.value), b'%s\n', line)


def test_c_code_prints_nothing_in_the_block(capfd, print_in_c):
    print_in_c(b'before')
    with hidden_c_output:
        print_in_c(b'hidden')
        with hidden_c_output:
            print_in_c(b'hidden')
        print_in_c(b'hidden')
    print_in_c(b'after')
    assert capfd.readouterr() == ('', 'before\nafter\n')


def test_nobody_else_loses_a_line(capfd):
    """Python in any thread, child processes and crashes write to the descriptor itself."""
    with hidden_c_output:
        print('of Python', file=sys.stderr, flush=True)
        os.write(2, b'of a descriptor\n')
        thread = threading.Thread(target=print, args=('of a thread',), kwargs={'file': sys.stderr})
        thread.start()
        thread.join()
        sys.stderr.flush()
        subprocess.run(['/bin/sh', '-c', 'echo of a child >&2'], check=True)
        faulthandler.dump_traceback(2)
    lines = capfd.readouterr().err.splitlines()
    assert lines[:4] == ['of Python', 'of a descriptor', 'of a thread', 'of a child']
    assert lines[4].startswith(('Current thread', 'Thread'))


def test_the_messages_of_a_crash_are_shown():
    """A decoder that damages the heap is ended by glibc, which prints why."""
    program = (
        'import ctypes, faulthandler\n'
        'from common.terminal.library_output import hidden_c_output as hidden\n'
        'faulthandler.enable()\n'
        'with hidden: ctypes.CDLL(None).free(ctypes.c_void_p(id(program := b"a" * 99) + 40))'
    )
    process = programs.run('-c', program)
    assert process.returncode == -signal.SIGABRT
    assert 'free(): invalid pointer' in process.stderr
    assert 'Fatal Python error: Aborted' in process.stderr


def test_a_command_hides_the_warnings_of_pillow_only():
    def warn(module, line):
        warnings.warn_explicit('Truncated File Read', UserWarning, 'a.py', line, module)

    with warnings.catch_warnings(record=True) as shown:
        warnings.resetwarnings()
        log.set_up(debug=False)
        warn('PIL.TiffImagePlugin', 1)
        warn('numpy.lib', 2)
        assert [each.lineno for each in shown] == [2]
        warnings.simplefilter('always')  # what `python -W always` asks for
        log.set_up(debug=False)
        warn('PIL.TiffImagePlugin', 3)
        assert [each.lineno for each in shown] == [2, 3]


def test_a_command_hides_what_pillow_logs(caplog):
    log.set_up(debug=False)
    logging.getLogger('PIL.TiffImagePlugin').error('More samples per pixel than can be decoded')
    logging.getLogger('other.library').error('kept')
    assert caplog.messages == ['kept']
