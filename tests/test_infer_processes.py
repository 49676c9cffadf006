"""infer.py in several processes: the same files, the same words, and nobody stays behind."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import pytest

import models
from command import UserError
from datasets import image_files as images
from engine import config as configs
from engine import pool
from engine.engines import machine, nnabla
from engine.predictor import Predictor
from engine.protocols import Protocol
from infer_helpers import CAMVID, INFER, refused, started

DEADLINE = 60


def folder(photo, count):
    Path('in').mkdir()
    for i in range(count):
        shutil.copy(photo, f'in/{i:03d}.png')


def descendants(process: int) -> set[int]:
    """All processes below one."""
    parents = {}
    for path in Path('/proc').glob('[0-9]*/stat'):
        try:
            fields = path.read_text().rpartition(')')[2].split()
        except OSError:
            continue
        if fields[0] != 'Z':
            parents[int(path.parent.name)] = int(fields[1])
    found = {process}
    while new := {child for child, parent in parents.items() if parent in found} - found:
        found |= new
    return found - {process}


def workers(process: int) -> set[int]:
    """The processes below one that have NNabla: those that do files."""
    return {p for p in descendants(process) if 'libnnabla' in maps(p)}


def maps(process: int) -> str:
    try:
        return Path(f'/proc/{process}/maps').read_text()
    except OSError:
        return ''


def wait_until(condition):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def running(*arguments):
    """infer.py at work on a folder in two processes, a few of whose files are done."""
    command = [sys.executable, str(INFER), '-i', 'in', *CAMVID, '--processes', '2', *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: len(list(Path().glob('results/[0-9]*.jpg'))) > 2)
    return process


def test_the_same_files_and_words_as_one_process(small_photo, capfd):
    folder(small_photo, 5)
    image = images.read_image(small_photo)
    images.write_image(Path('in/wide.png'), cv2.resize(image, (150, 40)))
    Path('in/002.png').write_bytes(small_photo.read_bytes()[:5000])
    Path('in/bad.jpg').write_text('no image')
    said = []
    for count in (1, 2):
        output = f'out{count}'
        options = ('-o', output, '--save-labels', '--processes', count)
        assert started('-i', 'in', *CAMVID, *options) == 1
        captured = capfd.readouterr()
        said.append((captured.err, captured.out.split(' in ')[0].replace(output, 'out')))
    assert said[0] == said[1]
    assert said[0][1] == '5 of 7 files written to out'
    names = sorted(os.listdir('out1'))
    assert names == sorted(os.listdir('out2'))
    assert len(names) == 10
    for name in names:
        assert Path('out1', name).read_bytes() == Path('out2', name).read_bytes(), name


def test_options_that_make_no_sense(small_photo, capsys):
    folder(small_photo, 2)
    line = refused(capsys, '-i', 'in', *CAMVID, '--processes', '0')
    assert '--processes must be at least 1, not 0' in line


@pytest.mark.parametrize(
    'cores, files, gigabytes, expected',
    [
        (4, 100, 64, 4),
        (4, 23, 64, 2),
        (4, 15, 64, 1),
        (1, 100, 64, 1),
        (8, 100, 1, 2),
        (8, 99, 0, 1),
    ],
)
def test_the_default_is_what_cores_files_and_memory_suffice_for(
    monkeypatch, cores, files, gigabytes, expected
):
    monkeypatch.setattr(machine, 'threads', lambda: cores)
    monkeypatch.setattr(machine, 'free_memory', lambda: gigabytes << 30)
    monkeypatch.setattr(pool, 'needed_memory', lambda *_: 500 << 20)
    network = SimpleNamespace(
        choice=SimpleNamespace(name='cpu'),
        predictor=SimpleNamespace(engine=nnabla.Graphs(network=None)),
    )
    assert pool.count(None, network, Protocol(), files, []) == expected
    network.choice.name = 'cudnn'
    assert pool.count(None, network, Protocol(), files, []) == 1
    with pytest.raises(UserError, match='--processes is for NNabla on the CPU'):
        pool.count(2, network, Protocol(), files, [])


def test_free_memory_is_less_than_the_machine_has():
    pages = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    assert 0 <= machine.free_memory() < pages


def test_a_killed_process_does_not_stop_the_others(small_photo):
    folder(small_photo, 40)
    process = running()
    os.kill(min(workers(process.pid)), signal.SIGKILL)
    output, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, errors
    assert len(errors.splitlines()) == 2, errors  # where it runs comes first
    assert 'going on with one (--processes 1)' in errors
    assert '40 of 40 files written' in output
    assert len(list(Path('results').glob('[0-9]*.jpg'))) == 40


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nobody_stays_behind(small_photo, number):
    folder(small_photo, 400)
    process = running()
    below = descendants(process.pid)
    assert len(workers(process.pid)) == 2
    process.send_signal(number)
    _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    if number == signal.SIGINT:
        assert errors.splitlines() == ['running on the CPU', 'interrupted']
    assert 'Traceback' not in errors
    wait_until(lambda: not any(Path(f'/proc/{p}').exists() for p in below))
    written = list(Path('results').iterdir())
    assert 2 < len(written) < 400
    assert all(path.name[0] != '.' for path in written)
    for path in written[:3]:
        assert images.read_image(path).shape == (90, 120, 3)


def test_the_memory_that_a_process_needs(small_photo):
    """At least what a pass takes, by the largest image; windows need less."""
    folder(small_photo, 2)
    large = cv2.resize(images.read_image(small_photo), (640, 480))
    images.write_image(Path('in/large.png'), large)
    paths = sorted(Path('in').iterdir())
    config = configs.load(CAMVID[1], [])
    network = SimpleNamespace(predictor=Predictor(models.create(config)))

    def needed(paths, **protocol):
        return pool.needed_memory(network, Protocol(**protocol), paths)

    peak_memory()
    before = peak_memory()
    network.predictor.labels(large)
    taken = peak_memory() - before
    assert taken < needed(paths) < taken + 2 * pool.BASE
    assert pool.BASE < needed(paths[:2]) < needed(paths, window=(128, 128)) < needed(paths)


def peak_memory() -> int:
    """Bytes that this process has had at most, from now on when it is asked for again."""
    status = Path('/proc/self/status').read_text()
    Path('/proc/self/clear_refs').write_text('5')
    return int(status.split('VmHWM:')[1].split()[0]) << 10
