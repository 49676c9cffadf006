"""Shared libraries: find the file behind a function, load libraries without making their symbols
global, and keep quiet what they print.
"""

import ctypes
import fcntl
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCAL = os.RTLD_NOW | os.RTLD_LOCAL  # its symbols are for itself and for what links it


class _DlInfo(ctypes.Structure):
    """``Dl_info`` of dlfcn.h."""

    _fields_ = [
        ('file', ctypes.c_char_p),
        ('base', ctypes.c_void_p),
        ('symbol', ctypes.c_char_p),
        ('address', ctypes.c_void_p),
    ]


def file_of_function(library: str | None, function: str) -> str | None:
    """Find the file that defines a function as ``library`` sees it: itself or one that it links.

    Args:
        library: Path of a library, which is loaded if it is not yet. None: the symbols that every
            library sees, those loaded with ``RTLD_GLOBAL`` or preloaded.
        function: The symbol's name.

    Returns:
        The path without symbolic links; None when there is no such function.
    """
    try:
        found = getattr(ctypes.CDLL(library), function)
    except (OSError, AttributeError):
        return None
    return _file_of(ctypes.cast(found, ctypes.c_void_p).value)


def file_behind_pointer(library: str, variable: str) -> str | None:
    """Find the file of the function that a library's global variable points to.

    Returns:
        The path without symbolic links; None when the variable is null or missing.
    """
    try:
        pointer = ctypes.c_void_p.in_dll(ctypes.CDLL(library), variable)
    except (OSError, ValueError):
        return None
    return _file_of(pointer.value)


def loaded_file(beginning: str) -> str | None:
    """Return the path of a library that this process has loaded, by the beginning of its file's
    name; None when there is none.
    """
    for line in Path('/proc/self/maps').read_text(errors='replace').splitlines():
        path = line[line.find('/') :]
        if path.startswith('/') and Path(path).name.startswith(beginning):
            return path
    return None


def _file_of(address: int | None) -> str | None:
    info, dladdr = _DlInfo(), ctypes.CDLL(None).dladdr
    dladdr.argtypes = [ctypes.c_void_p, ctypes.POINTER(_DlInfo)]
    if not address or not dladdr(address, ctypes.byref(info)):
        return None
    return os.path.realpath(os.fsdecode(info.file))


def load(paths: list[Path]):
    """Load libraries that depend on each other in an unknown order, with local symbols; those that
    cannot be loaded are skipped.
    """
    waiting = list(paths)
    while waiting:
        failed = []
        for path in waiting:
            try:
                ctypes.CDLL(str(path), mode=LOCAL)
            except OSError:
                failed.append(path)
        if len(failed) == len(waiting):
            return
        waiting = failed


@contextmanager
def import_flags(flags: int) -> Iterator[None]:
    """Load the libraries of Python extensions that are imported inside the block with these flags
    of dlopen, whatever the program has set.
    """
    before = sys.getdlopenflags()
    sys.setdlopenflags(flags)
    try:
        yield
    finally:
        sys.setdlopenflags(before)


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set environment variables inside the block, for libraries that read them."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def captured_output(lines: list[str]) -> Iterator[None]:
    """Append to ``lines`` what Python and C code print to both outputs inside the block.

    It redirects the process's file descriptors 1 and 2: what other threads print at that time is
    captured as well.
    """
    with tempfile.TemporaryFile('w+') as file:
        # Beyond the standard ones, any of which a daemon may have closed.
        target = fcntl.fcntl(file.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)
        saved: dict[int, int | None] = {}
        _flush()
        for number in (1, 2):
            try:
                saved[number] = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 3)
            except OSError:
                saved[number] = None
        for number in saved:
            os.dup2(target, number)
        try:
            yield
        finally:
            _flush()
            for number, copy in saved.items():
                if copy is None:
                    os.close(number)
                else:
                    os.dup2(copy, number)
                    os.close(copy)
            with os.fdopen(target, errors='replace') as captured:
                captured.seek(0)
                lines += captured.read().splitlines()


def _flush():
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or none at all
            stream.flush()
