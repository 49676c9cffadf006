"""infer.py as a user runs it, on images."""

import functools
import http.server
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import nnabla as nn
import numpy as np
import pytest
from PIL import Image

import datasets
import models
from datasets import image_files as images
from engine.backends import exported
from engine.backends.settings import BackendSettings
from engine.config.settings import ConfigSettings
from engine.device import context
from engine.device.settings import DeviceSettings
from engine.inference import (
    LooksSettings,
    ProtocolSettings,
    SegmentSettings,
    WeightsSettings,
    segment,
    segmenting,
)
from models import weights
from support import programs, stand_ins
from support.infer_runs import CAMVID, INFER, STREET, refused, started
from support.tiny_config import tiny_camvid


def test_one_image_from_any_folder(small_photo):
    """A separate process: exit status, output and picture."""
    process = programs.run(
        programs.PROJECT / 'infer.py', '-i', 'small.png', *CAMVID, cwd=small_photo.parent
    )
    assert process.returncode == 0, process.stderr
    assert process.stderr.splitlines() == ['running on the CPU']
    first, *shares = process.stdout.splitlines()
    assert first.startswith('result.jpg written')
    assert sum(float(line.split('%')[0]) for line in shares) == pytest.approx(100, abs=0.6)
    assert images.read_image(small_photo.parent / 'result.jpg').shape == (90, 120, 3)


def test_the_trained_model_finds_sky_houses_and_road(working_folder):
    """The class indices agree with what a person sees in the photo of the demo."""
    assert started('-i', STREET, *CAMVID, '--save-labels', '-o', 'a.png') == 0
    labels = cv2.imread('a_labels.png', cv2.IMREAD_UNCHANGED)
    assert (labels.shape, labels.dtype) == ((563, 751), np.uint8)
    classes = datasets.info('camvid').classes
    assert classes[np.bincount(labels[:60, 250:450].ravel()).argmax()] == 'sky'
    assert classes[np.bincount(labels[150:300, 20:180].ravel()).argmax()] == 'building'
    ground = np.bincount(labels[450:, 150:450].ravel(), minlength=11)
    assert classes[ground.argmax()] in ('road', 'pavement')


def test_the_backend_is_chosen_compared_and_cached(small_photo):
    """Two processes compile at the same time; a third one finds their cache entry."""
    options = [*tiny_camvid()[:2], '-c', 'cpu']
    environment = {'NNSEG_CACHE': str(small_photo.parent / 'cache')}

    def start(name):
        return programs.run(
            INFER, '-i', 'small.png', *options, '-o', name, '--save-labels', '--threads', '1',
            cwd=small_photo.parent, **environment,
        )  # fmt: skip

    with ThreadPoolExecutor(2) as pool:
        processes = [*pool.map(start, ('a.png', 'b.png')), start('c.png')]
    chosen = re.compile(r'backend: openvino \S+ on the CPU, one thread')
    for process in processes:
        assert process.returncode == 0, process.stderr
        assert chosen.fullmatch(process.stderr.splitlines()[1])
    # On a busy machine the second process may start so late that it finds the entry of the first.
    assert any('agrees with NNabla' in process.stderr for process in processes[:2])
    assert len(processes[2].stderr.splitlines()) == 2
    (cached,) = (small_photo.parent / 'cache' / 'backends').iterdir()
    assert cached.stat().st_size > 1e4
    assert started('-i', small_photo, *tiny_camvid(), '-o', 'nnabla.png', '--save-labels') == 0
    expected = cv2.imread('nnabla_labels.png', -1)
    for name in 'abc':
        assert np.mean(cv2.imread(f'{name}_labels.png', -1) == expected) > 0.9995


def test_an_unusable_backend_is_refused(small_photo, capsys, monkeypatch):
    camvid = ['-i', small_photo, *tiny_camvid()]
    for options, message in (
        (['--backend', 'tensorrt'], 'the package tensorrt is not installed: python -m pip install'),
        (['--precision', 'int8'], 'only --backend openvino supports it'),
        (['--backend', 'auto', '--precision', 'int8'], '--calibration'),
        (['--backend', 'auto', '--precision', 'int8', '--calibration', 'no/*.png'], 'no file'),
        (['--calibration', '.'], 'requires --precision int8'),
        (['--threads', '2'], 'NNabla uses one thread'),
    ):
        assert message in refused(capsys, *camvid, *options)
    monkeypatch.setenv('NNSEG_CACHE', str(small_photo.parent / 'cache'))
    compare = exported.measure_agreement
    different = exported.Agreement(1.5, 9.0, 0.4)
    monkeypatch.setattr(exported, 'measure_agreement', lambda *args: different)
    line = refused(capsys, *camvid, '--backend', 'onnxruntime')
    assert 'largest difference 1.5e+00, of logits up to 9, 40.00% of labels equal' in line
    assert Path(line.split('kept as ')[1]).stat().st_size > 1e4
    assert not Path('result.jpg').exists()
    monkeypatch.setattr(exported, 'measure_agreement', compare)
    monkeypatch.setitem(sys.modules, 'onnx', None)
    line = refused(capsys, *camvid, '--backend', 'openvino')
    assert 'the package onnx is not installed: python -m pip install -r requirements.txt' in line


def test_options_of_the_picture(small_photo):
    assert started('-i', small_photo, *tiny_camvid(), '-o', 'plain.png') == 0
    assert (
        started('-i', small_photo, *tiny_camvid(), '-o', 'all.png', '--legend', '--opacity', '1',
                '--save-labels', '--save-color') == 0
    )  # fmt: skip
    labels = cv2.imread('all_labels.png', cv2.IMREAD_UNCHANGED)
    palette = np.array(datasets.info('camvid').palette, np.uint8)
    picture = images.read_image(Path('all.png'))
    assert picture.shape[0] == 90
    assert picture.shape[1] > 120
    assert np.array_equal(picture[:, :120, ::-1], palette[labels])
    with Image.open('all_color.png') as color:
        assert np.array_equal(np.asarray(color), labels)
        assert np.array_equal(np.asarray(color.convert('RGB')), palette[labels])
    image = images.read_image(small_photo)
    blend = (image * 0.5 + palette[labels][..., ::-1] * 0.5).astype(np.uint8)
    assert np.array_equal(images.read_image(Path('plain.png')), blend)


def test_settings_made_in_python_equal_those_of_the_command_line(small_photo, capsys):
    """Without a parser, files are the same to the last bit, and so is the output but the time."""
    options = ['--legend', '--opacity', '0.3', '--save-labels', '--save-color', '--scales', '1,0.5',
               '--flip', '--set', 'test_window=[60, 80]', '-m', 'own.h5']  # fmt: skip
    config = tiny_camvid()[1]
    shutil.copy(config.with_suffix('.h5'), 'own.h5')
    assert started('-i', small_photo, *tiny_camvid(), '-o', 'command/a.png', *options) == 0
    printed = capsys.readouterr().out.splitlines()
    nn.clear_parameters()
    status = segment(
        SegmentSettings(
            inputs=(str(small_photo),),
            output='python/a.png',
            looks=LooksSettings(opacity=0.3, legend=True, save_labels=True, save_color=True),
            weights=WeightsSettings('own.h5'),
            config=ConfigSettings(str(config), ('test_window=[60, 80]',)),
            device=DeviceSettings('cpu'),
            backend=BackendSettings('nnabla'),
            protocol=ProtocolSettings(scales=(1, 0.5), flip=True),
        )
    )
    assert status == 0
    assert capsys.readouterr().out.splitlines()[1:] == printed[1:]
    names = ['a.png', 'a_color.png', 'a_labels.png']
    assert sorted(os.listdir('python')) == sorted(os.listdir('command')) == names
    for name in names:
        assert Path('python', name).read_bytes() == Path('command', name).read_bytes()


def test_the_network_is_created_once(small_photo, monkeypatch):
    """Input statistics from the file of weights reach the network without a second creation."""
    tiny, made, create = tiny_camvid(), [], models.create
    network = stand_ins.tiny(num_classes=11)
    network(nn.Variable((1, 3, 64, 64)))
    monkeypatch.setattr(models, 'create', lambda config: made.append(create(config)) or made[-1])
    weights.load(tiny[1].with_suffix('.h5'))
    statistics = {'mean': (1.0, 2.0, 3.0), 'std': (9.0, 8.0, 7.0), 'channel_order': 'bgr'}
    weights.save('own.h5', replace(network.info, **statistics))
    silent = ['--set', 'mean=null', '--set', 'std=null']  # a config without statistics
    assert started('-i', small_photo, *tiny, '-m', 'own.h5', *silent) == 0
    (network,) = made
    assert {key: getattr(network.info, key) for key in statistics} == statistics


def test_a_bad_file_in_a_folder_is_reported_and_skipped(small_photo, capsys):
    (small_photo.parent / 'in' / 'sub').mkdir(parents=True)
    shutil.copy(small_photo, 'in/a b ü.png')
    shutil.copy(small_photo, 'in/sub/c.png')
    Path('in/sub/c.jpg').write_bytes(b'no image')
    cut = Path('in/cut.png')
    cut.write_bytes(small_photo.read_bytes()[:5000])
    assert started('-i', 'in', *tiny_camvid()) == 1
    output = capsys.readouterr()
    written = sorted(str(p.relative_to('results')) for p in Path('results').rglob('*.*'))
    assert written == ['a b ü.jpg', 'sub/c.png.jpg']
    assert '2 of 4 files written to results' in output.out
    assert '2 could not be used' in output.out
    assert 'error: in/cut.png: damaged or truncated' in output.err
    assert 'error: in/sub/c.jpg: not an image' in output.err


def test_a_folder_with_only_a_bad_file_fails(small_photo, capsys):
    Path('in').mkdir()
    Path('in/a.jpg').write_text('no image')
    assert started('-i', 'in', *tiny_camvid()) == 1
    assert '0 of 1 files written' in capsys.readouterr().out


def test_patterns_and_several_files_are_written_to_a_folder(small_photo, capsys):
    for name in ('a', 'b', 'c'):
        shutil.copy(small_photo, f'{name}.png')
    assert started('-i', '[ab].png', *tiny_camvid(), '-o', 'out') == 0
    assert sorted(os.listdir('out')) == ['a.jpg', 'b.jpg']
    assert started('-i', 'b.png', 'c.png', *tiny_camvid(), '-o', 'out') == 0
    assert sorted(os.listdir('out')) == ['a.jpg', 'b.jpg', 'c.jpg']
    assert started('-i', 'a.png', *tiny_camvid(), '-o', 'out/') == 0
    assert '2 of 2 files written to out' in capsys.readouterr().out


def test_the_summary_of_a_folder_has_files_per_second(small_photo, capsys, monkeypatch):
    Path('in').mkdir()
    for name in ('a', 'b', 'c'):
        shutil.copy(small_photo, f'in/{name}.png')
    Path('in/d.png').touch()
    times = iter([10.0, 14.0])
    clock = SimpleNamespace(monotonic=lambda: next(times))
    monkeypatch.setattr(segmenting, 'time', clock)
    assert started('-i', 'in', *tiny_camvid()) == 1
    assert '3 of 4 files written to results in 4.0 s (0.75 per second)' in capsys.readouterr().out


def test_memory_is_released_when_the_image_size_changes(small_photo, monkeypatch):
    Path('in').mkdir()
    released = []
    for name, size in (('a', (120, 90)), ('b', (120, 90)), ('c', (200, 60))):
        images.write_image(Path(f'in/{name}.png'), cv2.resize(images.read_image(small_photo), size))
    monkeypatch.setattr(context, 'release_cached_memory', released.append)
    assert started('-i', 'in', *tiny_camvid()) == 0
    assert [choice.name for choice in released] == ['cpu', 'cpu']


def test_weights_are_downloaded_from_the_address_of_the_option(small_photo, capsys, monkeypatch):
    monkeypatch.setenv('NNSEG_CACHE', 'cache')
    address = 'http://127.0.0.1:9/weights'  # no server listens there
    line = refused(capsys, '-i', small_photo, '-c', 'cpu', '--weights-url', address)
    assert address in line


def test_an_image_alone_downloads_and_runs_d3net_l(small_photo, monkeypatch):
    """A local server offers zeros of the same names and shapes in place of the published file."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory='site')
    handler.log_message = lambda *args: None
    with stand_ins.zero_parameters():  # drawing 38 million numbers takes seconds
        models.create('d3net_l')(nn.Variable((1, 3, 64, 64)))
        Path('site').mkdir()
        weights.save('site/D3Net-L.h5')
        with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            address = f'http://127.0.0.1:{server.server_address[1]}'
            monkeypatch.setenv('NNSEG_WEIGHTS_URL', address)
            monkeypatch.setenv('NNSEG_CACHE', 'cache')
            assert started('-i', 'small.png') == 0
            server.shutdown()
    assert Path('cache', 'D3Net-L.h5').stat().st_size > 150e6
    assert images.read_image(Path('result.jpg')).shape == (90, 120, 3)


def test_an_interrupted_run_leaves_complete_files_only(small_photo):
    """Ctrl-C arrives in the middle of a folder."""
    Path('in').mkdir()
    for i in range(200):
        shutil.copy(small_photo, f'in/{i:03d}.png')
    command = [sys.executable, str(INFER), '-i', 'in', *tiny_camvid()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while len(list(Path().glob('results/[0-9]*.jpg'))) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b'Traceback' not in errors
    written = sorted(p for p in Path('results').iterdir())
    assert 3 <= len(written) < 200
    for path in written:
        assert images.read_image(path).shape == (90, 120, 3)
