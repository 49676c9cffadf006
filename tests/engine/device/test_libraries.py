"""Shared libraries: lookup, loading and captured output, with libraries of every Linux."""

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


def test_the_file_of_a_global_function_is_found():
    libc = libraries.file_of_function(None, 'dladdr')
    assert Path(libc).name.startswith(('libc.', 'libc-', 'libdl'))
    assert libc == os.path.realpath(libc)
    assert libraries.file_of_function(None, 'no_such_function') is None
    assert libraries.file_of_function('/no/such/library.so', 'dladdr') is None


def test_a_function_with_local_symbols_is_found_in_its_library_only(small_library):
    assert libraries.file_of_function(small_library, 'PyInit__yaml') == small_library
    assert libraries.file_of_function(None, 'PyInit__yaml') is None


def test_the_file_behind_a_pointer_is_found():
    """The pointers are variables of the C library, one set and one null."""
    libc = libraries.file_of_function(None, 'dladdr')
    assert libraries.file_behind_pointer(libc, 'stdout') == libc
    assert libraries.file_behind_pointer(libc, 'optarg') is None
    assert libraries.file_behind_pointer(libc, 'no_such_variable') is None


def test_libraries_are_loaded_in_the_order_of_their_dependencies(tmp_path, monkeypatch):
    """In the stand-in for the loader, each library needs the next one by name."""
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


def test_invalid_libraries_are_skipped(tmp_path, small_library):
    (tmp_path / 'libbroken.so').write_bytes(b'not a library')
    own = Path(shutil.copy(small_library, tmp_path / 'libown.so'))
    libraries.load([tmp_path / 'libbroken.so', own])
    assert libraries.loaded_file('libown') == str(own)
    assert libraries.loaded_file('libbroken') is None
    assert libraries.file_of_function(None, 'PyInit__yaml') is None  # no symbol is global


def test_flags_and_variables_are_restored(monkeypatch):
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


def test_printed_output_is_captured():
    process = programs.run('-c', PROGRAM_WITH_BOTH_OUTPUTS)
    assert process.stdout == "before\nafter ['python', 'c']\n"
    assert process.stderr == ''


@pytest.mark.parametrize('closed', [(1,), (2,), (1, 2), (0, 1, 2)])
def test_capturing_works_with_closed_outputs(closed, tmp_path):
    """Closed file descriptors are closed again afterwards."""
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
