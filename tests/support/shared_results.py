"""Share an expensive result between the worker processes of pytest-xdist."""

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path


def computed_once(tmp_path_factory, name: str, compute: Callable[[Path], object]):
    """Return a folder and a result; only the first caller of all workers computes them.

    Args:
        tmp_path_factory: The fixture of pytest.
        name: A name that no other caller uses.
        compute: Receives the empty folder and returns a result that JSON can store.
    """
    root = tmp_path_factory.getbasetemp()
    if 'PYTEST_XDIST_WORKER' in os.environ:
        root = root.parent  # the folder of the whole test run
    folder, record = root / f'shared_{name}', root / f'shared_{name}.json'
    with open(root / f'shared_{name}.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not record.exists():
            folder.mkdir()
            record.write_text(json.dumps(compute(folder)))
        return folder, json.loads(record.read_text())
