"""Let the project's writers make valid files, and return their bytes."""

import tempfile
from collections.abc import Callable
from pathlib import Path


def written(name: str, write: Callable[[Path], object]) -> bytes:
    """Return the content of the file that ``write`` writes to the path it receives."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        write(path)
        return path.read_bytes()


def folder_written(write: Callable[[Path], object]) -> dict[str, bytes]:
    """Return the files that ``write`` writes into the folder it receives, by relative path."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder)
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob('*'))
            if path.is_file()
        }
