"""Start loaders in separate process groups and load until killed: a program without a main guard.

Usage: python killed_loader.py FOLDER WORKERS ..., with a number of workers for each loader. The
program prints a JSON list with one list for each loader: the id of the loader's process and those
of its workers. The standard error of loader i goes to FOLDER/i/errors.
"""

import json
import os
import signal
import sys
from pathlib import Path

sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[1:3]]
from support import numbered_dataset  # noqa: E402  # found through the line above

folder = Path(sys.argv[1])
started = []
for index, workers in enumerate(map(int, sys.argv[2:])):
    own = folder / str(index)
    own.mkdir()
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(os.open(own / 'errors', os.O_CREAT | os.O_WRONLY), 2)
        loader = numbered_dataset.load(numbered_dataset.write_dataset(own), workers=workers)
        loader.next()
        os.write(writing, json.dumps(numbered_dataset.worker_pids(loader)).encode())
        os.close(writing)
        while True:
            loader.next()
    os.close(writing)
    started.append((process, reading))
print(json.dumps([[pid, *json.loads(os.read(reading, 1000))] for pid, reading in started]))
sys.stdout.flush()
for pid, _ in started:
    os.waitpid(pid, 0)
