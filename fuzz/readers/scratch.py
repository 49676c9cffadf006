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
