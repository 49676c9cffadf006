"""Load the HTTP server with clients, and compare every answer with what infer.py writes."""

import http.client
import itertools
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmarks.harness import TimingResult
from benchmarks.memory import resident_mib
from common import PROJECT
from common.errors import UserError
from common.log import LOG
from datasets import image_files

MEMORY_AT = (0.1, 0.5, 1.0)  # shares of the requests after which memory is measured
STARTING_SECONDS, ANSWERING_SECONDS = 120, 120
BOUNDARY = 'boundary-of-the-benchmark'
READY = re.compile(r'serving .* on http://([^ :]+):(\d+) ')


@dataclass(frozen=True)
class _Picture:
    """A picture that clients send.

    Attributes:
        body: The multipart body with the file.
        labels: What infer.py writes for it, (H, W) uint8.
    """

    body: bytes
    labels: np.ndarray


def measure_serving(
    options: Sequence[str], images: Sequence[Path], clients: int, requests: int
) -> tuple[list[TimingResult], dict[str, object]]:
    """Send requests of several clients to a server of its own, and check the answers.

    Args:
        options: Options that select the network, for infer.py and for the server.
        images: Files of the pictures; the clients send them in turns.
        clients: Number of clients that send one request after the other.
        requests: Number of requests of all clients together.

    Returns:
        The times of a request, and facts for the report. Details are the 95th percentile, the
        requests per second, and the resident memory of the server after a tenth, half and all of
        the requests.

    Raises:
        UserError: infer.py or the server fails, or an answer differs from infer.py's.
    """
    pictures = _labelled(options, images)
    with _server(options) as (process, port):
        send = _Client(port)
        for picture in pictures:  # compiles the network for each size
            send.check(picture)
        memory: dict[int, float] = {}
        marks = {max(1, round(share * requests)): share for share in MEMORY_AT}
        counter, lock, times = itertools.count(1), threading.Lock(), []

        def one(number: int) -> None:
            seconds = send.check(pictures[number % len(pictures)])
            with lock:
                times.append(seconds)
                count = next(counter)
                if count in marks:
                    memory[count] = resident_mib(process.pid)

        LOG.info('sending %d requests of %d clients', requests, clients)
        started = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(one, range(requests)))
        elapsed = time.perf_counter() - started
    milliseconds = sorted(1000 * seconds for seconds in times)
    details = {
        'p95 ms': milliseconds[min(len(times) - 1, round(0.95 * len(times)))],
        'requests/s': requests / elapsed,
        **{f'MiB at {count}': used for count, used in sorted(memory.items())},
    }
    median = statistics.median(milliseconds)
    result = TimingResult('POST /segment', median, milliseconds[0], milliseconds[-1], 1.0, details)
    sizes = ', '.join(sorted({'x'.join(map(str, each.labels.shape)) for each in pictures}))
    return [result], {
        'clients': clients, 'requests': requests, 'pictures': len(pictures), 'sizes': sizes,
        'answers': f'all {requests + len(pictures)} equal those of infer.py',
    }  # fmt: skip


def _labelled(options: Sequence[str], images: Sequence[Path]) -> list[_Picture]:
    """Segment the pictures with infer.py."""
    with tempfile.TemporaryDirectory() as folder:
        inputs, results = Path(folder, 'inputs'), Path(folder, 'results')
        inputs.mkdir()
        for number, path in enumerate(images):
            shutil.copy(path, inputs / f'{number:03d}{path.suffix}')
        command = [PROJECT / 'infer.py', '-i', inputs, '-o', results, '--save-labels', *options]
        process = subprocess.run(
            [sys.executable, *map(str, command)], capture_output=True, text=True
        )
        if process.returncode:
            raise UserError(f'infer.py failed: {process.stderr.strip().splitlines()[-1]}')
        return [
            _Picture(
                _multipart(path.name, path.read_bytes()),
                cv2.imread(str(results / f'{path.stem}_labels.png'), cv2.IMREAD_UNCHANGED),
            )
            for path in sorted(inputs.iterdir())
        ]


@contextmanager
def _server(options: Sequence[str]) -> Iterator[tuple[subprocess.Popen, int]]:
    """Start the server; yields its process and port."""
    command = [sys.executable, '-m', 'engine.serve', '--port', '0', *options]
    with subprocess.Popen(
        command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stderr  # for mypy
        errors: list[str] = []
        reading = threading.Thread(target=errors.extend, args=(process.stderr,), daemon=True)
        reading.start()
        try:
            ready = READY.match(process.stdout.readline())
            if ready is None:
                reading.join(STARTING_SECONDS)
                raise UserError(f'the server did not start: {"".join(errors[-1:]).strip()}')
            yield process, int(ready[2])
        finally:
            process.terminate()


class _Client:
    """Sends pictures; each thread has a connection of its own."""

    def __init__(self, port: int):
        self._port, self._own = port, threading.local()

    def check(self, picture: _Picture) -> float:
        """Send a picture, check the answer and return the seconds that it took."""
        if not hasattr(self._own, 'connection'):
            self._own.connection = http.client.HTTPConnection(
                '127.0.0.1', self._port, timeout=ANSWERING_SECONDS
            )
        started = time.perf_counter()
        kind = f'multipart/form-data; boundary={BOUNDARY}'
        self._own.connection.request('POST', '/segment', picture.body, {'Content-Type': kind})
        answer = self._own.connection.getresponse()
        data = answer.read()
        seconds = time.perf_counter() - started
        if answer.status != 200:
            raise UserError(f'the server answered {answer.status}: {data[:300].decode()}')
        labels = image_files.decode_image(data, 'the answer')[..., 0]
        if not np.array_equal(labels, picture.labels):
            raise UserError('an answer of the server differs from the labels of infer.py')
        return seconds


def _multipart(name: str, data: bytes) -> bytes:
    head = f'Content-Disposition: form-data; name="image"; filename="{name}"'
    return f'--{BOUNDARY}\r\n{head}\r\n\r\n'.encode() + data + f'\r\n--{BOUNDARY}--\r\n'.encode()
