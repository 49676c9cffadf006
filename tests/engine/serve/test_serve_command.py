"""python -m engine.serve as a user starts and stops it."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.command import run_command
from datasets.image_files import encode_image
from engine.serve import __main__ as command
from support import programs, served, stand_ins
from support.tiny_config import tiny_camvid

LINE = re.compile(
    r'serving tiny and (\d+) others? on http://127\.0\.0\.1:(\d+) \(stop with Ctrl-C\)'
)


@contextmanager
def started(*options, stdout=subprocess.PIPE):
    """Start the command on a free port; it is killed at the end if it still runs."""
    arguments = ['-m', 'engine.serve', *tiny_camvid(), '--port', '0', *options]
    with subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=programs.PROJECT,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def connected(port):
    return http.client.HTTPConnection('127.0.0.1', port, timeout=served.HANG_SECONDS)


def test_start_and_clean_stop():
    """SIGTERM during a computation: it is answered, then the process ends with status 0."""
    image = encode_image('.png', stand_ins.image(900, 1200))
    with started() as process:
        line = LINE.fullmatch(process.stdout.readline().rstrip('\n'))
        others, port = map(int, line.groups())
        watching, uploading = connected(port), connected(port)
        watching.request('GET', '/models')
        known = json.load(watching.getresponse())
        assert known['default'] == 'tiny' and len(known['models']) == others + 1
        assert 'D3Net_T_camvid' in [model['name'] for model in known['models']]
        body = served.multipart(('image', 'a.png', image))
        uploading.request('POST', '/segment', body, served.MULTIPART_HEADER)
        state = {'running': 0, 'waiting': 1}
        while not state['running']:
            watching.request('GET', '/health')
            state = json.load(watching.getresponse())
        process.send_signal(signal.SIGTERM)
        answer = uploading.getresponse()
        assert answer.status == 200 and answer.read().startswith(b'\x89PNG')
        output, errors = process.communicate(timeout=served.HANG_SECONDS)
    assert process.returncode == 0, errors
    assert output == 'stopped\n'
    assert 'error' not in errors and 'Traceback' not in errors


def test_a_signal_before_the_port_is_open():
    """Also while libraries are imported, which an interruption can crash."""
    with started() as process:
        while 'nnabla' not in mapped_files(process.pid):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=served.HANG_SECONDS)
    assert (process.returncode, output) == (128 + signal.SIGINT, '')
    assert errors.splitlines()[-1] == 'interrupted' and 'Traceback' not in errors


def mapped_files(process):
    """Return the files that are mapped into the memory of a process, as text."""
    return Path(f'/proc/{process}/maps').read_text()


def test_a_second_signal_ends_a_server_without_a_reader_at_once():
    """Nobody reads standard output, and an upload that does not end delays the first stop."""
    reader, writer = os.pipe()
    os.close(reader)
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    with started('--port', port, stdout=writer) as process, socket.socket() as client:
        os.close(writer)
        while client.connect_ex(('127.0.0.1', port)):
            assert process.poll() is None
        client.sendall(
            b'POST /segment HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n'
            b'Content-Type: multipart/form-data; boundary=x\r\n\r\n--x'
        )
        while served_health(port)['waiting'] != 1:
            pass
        process.send_signal(signal.SIGINT)
        client.settimeout(served.HANG_SECONDS)
        assert client.recv(1000).startswith(b'HTTP/1.1 503')
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=served.HANG_SECONDS)
    assert process.returncode == -signal.SIGINT
    assert 'error' not in errors and 'Traceback' not in errors


def served_health(port):
    connection = connected(port)
    connection.request('GET', '/health')
    return json.load(connection.getresponse())


def refused(capsys, *options):
    """Run the command, which fails with status 2; return its one line."""
    arguments = [*map(str, tiny_camvid()), *map(str, options)]
    assert run_command(command.build_parser, command.main, arguments) == 2
    (line,) = [row for row in capsys.readouterr().err.splitlines() if row.startswith('error: ')]
    return line


def test_a_port_in_use(capsys):
    with socket.create_server(('127.0.0.1', 0)) as other:
        port = other.getsockname()[1]
        assert refused(capsys, '--port', port) == (
            f'error: --port {port}: in use by another program; choose another one, or --port 0 for '
            'a free one'
        )


@pytest.mark.parametrize(
    'options, words',
    [
        (('--host', 'nowhere.invalid'), '--host nowhere.invalid: no such host'),
        (('--host', '192.0.2.77'), '--host 192.0.2.77: not an address of this machine'),
        (('--host', 'x' * 300), ': no such host'),
        (('--port', '70000'), '--port 70000: must be from 0 to 65535'),
        (('--port', 'http'), 'invalid int value'),
        (('--queue', '-1'), '--queue -1: must be 0 or more'),
        (('--allow-origin', '*'), "argument --allow-origin: '\\*': write it as scheme, host"),
        (('--port', '0', '-m', 'nothing.h5'), 'nothing.h5: no such file of weights'),
        (('--port', '0', '-cfg', 'D3Net_X'), 'D3Net_X: no such config; the nearest are'),
        (('--size', '8x8', '--port', '0', '--short-sides', '8'), 'use one of them'),
    ],
)
def test_options_that_cannot_be_met(capsys, options, words):
    assert re.search(words, refused(capsys, *options))


def test_a_package_that_is_not_installed(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'fastapi_offline', None)  # as if it were not there
    assert refused(capsys) == (
        'error: the package fastapi_offline is not installed; make serve-environment, or python -m '
        'pip install -r requirements.txt -r requirements-serve.txt'
    )
