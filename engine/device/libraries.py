"""Shared libraries: locate functions, load with local symbols, and capture printed output."""

import ctypes
import fcntl
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCAL = os.RTLD_NOW | os.RTLD_LOCAL  # symbols visible only to the library and those linking it


class _DlInfo(ctypes.Structure):
    """``Dl_info`` of dlfcn.h."""

    _fields_ = [
        ('file', ctypes.c_char_p),
        ('base', ctypes.c_void_p),
        ('symbol', ctypes.c_char_p),
        ('address', ctypes.c_void_p),
    ]


def file_of_function(library: str | None, function: str) -> str | None:
    """Find the file that defines a function, as ``library`` resolves its name.

    Args:
        library: Path of a library, which is loaded if necessary. None for the global symbols: those
            of libraries that were preloaded or loaded with ``RTLD_GLOBAL``.
        function: The symbol's name.

    Returns:
        The path without symbolic links; None for an unknown function.
    """
    try:
        found = getattr(ctypes.CDLL(library), function)
    except (OSError, AttributeError):
        return None
    return _file_of(ctypes.cast(found, ctypes.c_void_p).value)


def file_behind_pointer(library: str, variable: str) -> str | None:
    """Find the file of the function to which a library's global variable points.

    Args:
        library: Path of the library.
        variable: The variable's name.

    Returns:
        The path without symbolic links; None if the variable is null or missing.
    """
    try:
        pointer = ctypes.c_void_p.in_dll(ctypes.CDLL(library), variable)
    except (OSError, ValueError):
        return None
    return _file_of(pointer.value)


def loaded_file(beginning: str) -> str | None:
    """Return the path of a loaded library whose file name starts with ``beginning``, or None."""
    for line in Path('/proc/self/maps').read_text(encoding='utf-8', errors='replace').splitlines():
        path = line[line.find('/') :]
        if path.startswith('/') and Path(path).name.startswith(beginning):
            return path
    return None


def _file_of(address: int | None) -> str | None:
    """Return the path of the file that is mapped at an address; None for an unmapped one."""
    info, dladdr = _DlInfo(), ctypes.CDLL(None).dladdr
    dladdr.argtypes = [ctypes.c_void_p, ctypes.POINTER(_DlInfo)]
    if not address or not dladdr(address, ctypes.byref(info)):
        return None
    return os.path.realpath(os.fsdecode(info.file))


def load(paths: list[Path]):
    """Load libraries with local symbols, whatever the order of their dependencies.

    Libraries that cannot be loaded are skipped.
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
    """Set the flags of dlopen for Python extensions that are imported inside the block."""
    before = sys.getdlopenflags()
    sys.setdlopenflags(flags)
    try:
        yield
    finally:
        sys.setdlopenflags(before)


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set environment variables inside the block."""
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
    """Append to ``lines`` what Python and C code print on both outputs inside the block.

    File descriptors 1 and 2 of the process are redirected, so the output of other threads is
    captured as well.
    """
    with tempfile.TemporaryFile('w+') as file:
        # A number above the standard descriptors, because a daemon may have closed any of these.
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
        with suppress(OSError, ValueError, AttributeError):  # the stream is closed or None
            stream.flush()
