"""Shared libraries, with those that every Linux has."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import helpers
from engine import libraries

PROGRAM_WITH_BOTH_OUTPUTS = """
import os, sys
from engine import libraries
lines = []
print('before')
with libraries.captured_output(lines):
    print('python')
    os.write(2, b'c\\n')
print('after', lines)
"""


@pytest.fixture
def small_library():
    """A library that links nothing unusual: an extension of Python's own."""
    return __import__('_heapq').__file__


def test_the_file_of_a_function_is_found():
    libc = libraries.file_of_function(None, 'dladdr')
    assert Path(libc).name.startswith(('libc.', 'libc-', 'libdl'))
    assert libc == os.path.realpath(libc)
    assert libraries.file_of_function(None, 'no_such_function') is None
    assert libraries.file_of_function('/no/such/library.so', 'dladdr') is None


def test_a_function_of_a_library_that_is_local(small_library):
    assert libraries.file_of_function(small_library, 'PyInit__heapq') == small_library
    assert libraries.file_of_function(None, 'PyInit__heapq') is None


def test_a_pointer_leads_to_the_file_of_its_function():
    """``__free_hook`` and its like are gone; Python's has a pointer that is set, and one that is
    not.
    """
    python = libraries.file_of_function(None, 'Py_Initialize')
    assert libraries.file_behind_pointer(python, 'PyOS_InputHook') is None
    handler = ctypes.c_void_p.in_dll(ctypes.CDLL(python), 'PyOS_InputHook')
    handler.value = ctypes.cast(ctypes.CDLL(None).dladdr, ctypes.c_void_p).value
    try:
        found = libraries.file_behind_pointer(python, 'PyOS_InputHook')
        assert found == libraries.file_of_function(None, 'dladdr')
    finally:
        handler.value = None
    assert libraries.file_behind_pointer(python, 'no_such_variable') is None


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
    assert libraries.file_of_function(None, 'PyInit__heapq') is None  # nothing is global


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
    process = helpers.run('-c', PROGRAM_WITH_BOTH_OUTPUTS)
    assert process.stdout == "before\nafter ['python', 'c']\n"
    assert process.stderr == ''


def test_a_program_without_outputs_is_no_reason_to_fail():
    process = subprocess.run(
        [sys.executable, '-c', PROGRAM_WITH_BOTH_OUTPUTS.replace('os.write', 'assert os.write')],
        cwd=helpers.PROJECT,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: os.close(2),
        text=True,
    )
    assert 'before' in process.stdout
