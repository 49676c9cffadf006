"""Shared libraries, with those that every Linux has."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engine.device import libraries
from support import programs

PROGRAM_WITH_BOTH_OUTPUTS = """
import os, sys
from engine.device import libraries
lines = []
print('before')
with libraries.captured_output(lines):
    print('python')
    os.write(2, b'c\\n')
print('after', lines)
"""


@pytest.fixture
def small_library():
    """Return the path, without symbolic links, of a library with common dependencies only."""
    return os.path.realpath(programs.SMALL_LIBRARY)


def test_the_file_of_a_function_is_found():
    libc = libraries.file_of_function(None, 'dladdr')
    assert Path(libc).name.startswith(('libc.', 'libc-', 'libdl'))
    assert libc == os.path.realpath(libc)
    assert libraries.file_of_function(None, 'no_such_function') is None
    assert libraries.file_of_function('/no/such/library.so', 'dladdr') is None


def test_a_function_of_a_library_that_is_local(small_library):
    assert libraries.file_of_function(small_library, 'PyInit__yaml') == small_library
    assert libraries.file_of_function(None, 'PyInit__yaml') is None


def test_a_pointer_leads_to_the_file_of_what_it_points_to():
    """The C library's own, of which one is set and one is not."""
    libc = libraries.file_of_function(None, 'dladdr')
    assert libraries.file_behind_pointer(libc, 'stdout') == libc
    assert libraries.file_behind_pointer(libc, 'optarg') is None
    assert libraries.file_behind_pointer(libc, 'no_such_variable') is None


def test_libraries_are_loaded_in_whatever_order_they_need(tmp_path, monkeypatch):
    """Stands for the loader: each library needs the one whose name comes after its own."""
    names = ['liba.so.1', 'libb.so.1', 'libc.so.1']
    loaded = []

    def load(path, mode):
        assert not mode & ctypes.RTLD_GLOBAL
        name = Path(path).name
        needs = names[names.index(name) + 1 : names.index(name) + 2]
        if not set(needs) <= set(loaded):
            raise OSError(f'{needs[0]}: cannot open shared object file')
        loaded.append(name)

    monkeypatch.setattr(libraries.ctypes, 'CDLL', load)
    libraries.load([tmp_path / name for name in names])
    assert loaded == names[::-1]


def test_what_is_no_library_is_skipped(tmp_path, small_library):
    (tmp_path / 'libbroken.so').write_bytes(b'not a library')
    own = Path(shutil.copy(small_library, tmp_path / 'libown.so'))
    libraries.load([tmp_path / 'libbroken.so', own])
    assert libraries.loaded_file('libown') == str(own)
    assert libraries.loaded_file('libbroken') is None
    assert libraries.file_of_function(None, 'PyInit__yaml') is None  # nothing is global


def test_flags_and_variables_are_those_of_before_afterwards(monkeypatch):
    monkeypatch.setenv('THERE', 'before')
    monkeypatch.delenv('NOT_THERE', raising=False)
    flags = sys.getdlopenflags()
    with (
        pytest.raises(KeyError),
        libraries.environment(THERE='a', NOT_THERE='b'),
        libraries.import_flags(os.RTLD_LAZY | os.RTLD_GLOBAL),
    ):
        assert sys.getdlopenflags() == os.RTLD_LAZY | os.RTLD_GLOBAL
        assert (os.environ['THERE'], os.environ['NOT_THERE']) == ('a', 'b')
        raise KeyError
    assert sys.getdlopenflags() == flags
    assert os.environ['THERE'] == 'before'
    assert 'NOT_THERE' not in os.environ


def test_what_is_printed_is_kept_and_not_shown():
    process = programs.run('-c', PROGRAM_WITH_BOTH_OUTPUTS)
    assert process.stdout == "before\nafter ['python', 'c']\n"
    assert process.stderr == ''


@pytest.mark.parametrize('closed', [(1,), (2,), (1, 2), (0, 1, 2)])
def test_a_program_without_outputs_is_no_reason_to_fail(closed, tmp_path):
    """What is printed is captured all the same, and what was closed is closed afterwards."""
    program = """
import os, sys
from engine.device import libraries
lines = []
with libraries.captured_output(lines):
    os.write(1, b'a\\n')
    os.write(2, b'b\\n')
still = []
for number in (0, 1, 2):
    try:
        os.fstat(number)
    except OSError:
        still.append(number)
open(sys.argv[1], 'w').write(f'{lines} {still}')
"""
    report = tmp_path / 'report'
    process = subprocess.run(
        [sys.executable, '-c', program, str(report)],
        cwd=programs.PROJECT,
        preexec_fn=lambda: [os.close(number) for number in closed],
    )
    assert process.returncode == 0
    assert report.read_text() == f"['a', 'b'] {list(closed)}"
