"""infer.py as a user types it."""

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path

import cv2
import nnabla as nn
import numpy as np
import pytest
from PIL import Image

import datasets
import helpers
import infer
import models
from command import run
from datasets import image_files as images
from models import weights

CAMVID = ['-cfg', 'configs/D3Net_T_camvid.yaml', '-c', 'cpu']
INFER = helpers.PROJECT / 'infer.py'
STREET = helpers.PROJECT / 'resources' / 'street.jpg'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory of the test's own; configs and weights are found all the same."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def small(folder):
    """A piece of a real street photo, 120 by 90."""
    path = folder / 'small.png'
    images.write_image(path, cv2.resize(images.read_image(STREET), (120, 90)))
    return path


def started(*arguments):
    """Run infer.py in this process; returns the exit status."""
    nn.clear_parameters()
    return run(infer.build_parser, infer.main, [str(a) for a in arguments])


def refused(capsys, *arguments):
    """Run infer.py, which ends with status 2; returns its one line."""
    assert started(*arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    errors = [line for line in lines if line.startswith('error: ')]
    assert len(errors) == 1, lines
    return errors[0]


def test_one_image_from_any_folder(small):
    """As a process of its own: status, what it prints, and the picture."""
    process = helpers.run(
        helpers.PROJECT / 'infer.py', '-i', 'small.png', *CAMVID, cwd=small.parent
    )
    assert process.returncode == 0, process.stderr
    assert process.stderr.splitlines() == ['running on the CPU']
    first, *shares = process.stdout.splitlines()
    assert first.startswith('result.jpg written')
    assert sum(float(line.split('%')[0]) for line in shares) == pytest.approx(100, abs=0.6)
    assert images.read_image(small.parent / 'result.jpg').shape == (90, 120, 3)


def test_the_trained_model_sees_sky_above_and_houses(folder):
    """What a person sees in the demo's photo, as indices."""
    assert started('-i', STREET, *CAMVID, '--scale', '0.64', '--save-labels', '-o', 'a.png') == 0
    labels = cv2.imread('a_labels.png', cv2.IMREAD_UNCHANGED)
    assert (labels.shape, labels.dtype) == ((563, 751), np.uint8)
    classes = datasets.info('camvid').classes
    assert classes[np.bincount(labels[:60, 250:450].ravel()).argmax()] == 'sky'
    assert classes[np.bincount(labels[150:300, 20:180].ravel()).argmax()] == 'building'
    ground = np.bincount(labels[450:, 150:450].ravel(), minlength=11)
    assert classes[ground.argmax()] in ('road', 'pavement')


def test_the_options_of_a_picture(small):
    assert started('-i', small, *CAMVID, '-o', 'plain.png') == 0
    assert (
        started('-i', small, *CAMVID, '-o', 'all.png', '--legend', '--opacity', '1',
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
    image = images.read_image(small)
    blend = (image * 0.5 + palette[labels][..., ::-1] * 0.5).astype(np.uint8)
    assert np.array_equal(images.read_image(Path('plain.png')), blend)


def test_a_folder_with_a_bad_file(small, capsys):
    (small.parent / 'in' / 'sub').mkdir(parents=True)
    shutil.copy(small, 'in/a b ü.png')
    shutil.copy(small, 'in/sub/c.png')
    Path('in/sub/c.jpg').write_bytes(b'no image')
    cut = Path('in/cut.png')
    cut.write_bytes(small.read_bytes()[:5000])
    assert started('-i', 'in', *CAMVID) == 1
    output = capsys.readouterr()
    written = sorted(str(p.relative_to('results')) for p in Path('results').rglob('*.*'))
    assert written == ['a b ü.jpg', 'sub/c.png.jpg']
    assert '2 of 4 files written to results' in output.out
    assert '2 could not be used' in output.out
    assert 'error: in/cut.png: damaged or truncated' in output.err
    assert 'error: in/sub/c.jpg: not an image' in output.err


def test_a_folder_whose_only_file_is_bad(small, capsys):
    Path('in').mkdir()
    Path('in/a.jpg').write_text('no image')
    assert started('-i', 'in', *CAMVID) == 1
    assert '0 of 1 files written' in capsys.readouterr().out


def test_patterns_and_several_files(small, capsys):
    for name in ('a', 'b', 'c'):
        shutil.copy(small, f'{name}.png')
    assert started('-i', '[ab].png', *CAMVID, '-o', 'out') == 0
    assert sorted(os.listdir('out')) == ['a.jpg', 'b.jpg']
    assert started('-i', 'b.png', 'c.png', *CAMVID, '-o', 'out') == 0
    assert sorted(os.listdir('out')) == ['a.jpg', 'b.jpg', 'c.jpg']
    assert started('-i', 'a.png', *CAMVID, '-o', 'out/') == 0
    assert '2 of 2 files written to out' in capsys.readouterr().out


def write_video(path, frames, api=cv2.CAP_FFMPEG):
    writer = cv2.VideoWriter(
        path, api, cv2.VideoWriter_fourcc(*'MJPG'), 12.5, frames[0].shape[1::-1]
    )
    for frame in frames:
        writer.write(frame)
    writer.release()


def read_video(path):
    capture = cv2.VideoCapture(str(path))
    rate, frames = capture.get(cv2.CAP_PROP_FPS), []
    while True:
        there, frame = capture.read()
        if not there:
            return rate, frames
        frames.append(frame)


def test_a_video_comes_back_as_a_video(small):
    frame = images.read_image(small)
    write_video('in.avi', [np.roll(frame, 8 * i, axis=1) for i in range(4)])
    assert started('-i', 'in.avi', *CAMVID, '--legend') == 0
    rate, frames = read_video('result.mp4')
    assert (rate, len(frames)) == (12.5, 4)
    assert frames[0].shape[0] == 90
    assert frames[0].shape[1] > 120
    assert not np.array_equal(frames[0], frames[3])
    assert started('-i', 'in.avi', *CAMVID, '--save-labels', '-o', 'out.avi') == 0
    assert len(read_video('out.avi')[1]) == 4
    assert sorted(os.listdir('out')) == [f'{i:08d}_labels.png' for i in range(1, 5)]


def test_a_video_with_odd_sides(small):
    frame = images.read_image(small)[:45, :75]
    write_video('odd.avi', [frame, frame], cv2.CAP_OPENCV_MJPEG)  # which keeps odd sides
    assert read_video('odd.avi')[1][0].shape == (45, 75, 3)
    assert started('-i', 'odd.avi', *CAMVID) == 0
    frames = read_video('result.mp4')[1]
    assert [f.shape for f in frames] == [(46, 76, 3)] * 2
    assert abs(frames[0][:, 75].astype(int) - frames[0][:, 74]).mean() < 20


def test_inputs_that_cannot_be_used(small, capsys):
    Path('text.jpg').write_text('hello')
    Path('text.mp4').write_text('hello')
    Path('cut.png').write_bytes(small.read_bytes()[:5000])
    Path('empty').mkdir()
    for name, message in (
        ('none.png', 'none.png: no such file or folder'),
        ('*.gif', 'no file matches'),
        ('empty', 'empty: no image or video in this folder'),
        ('text.jpg', 'text.jpg: not an image'),
        ('text.mp4', 'text.mp4: not a video'),
        ('cut.png', 'cut.png: damaged or truncated'),
    ):
        assert message in refused(capsys, '-i', name, *CAMVID)
    shutil.copy(small, 'empty/c.png')
    shutil.copy(small, 'empty/c.png.png')
    Path('empty/c.jpg').touch()
    assert 'c.png.jpg: 2 inputs would be written to it' in refused(capsys, '-i', 'empty', *CAMVID)
    line = refused(capsys, '-i', small, *CAMVID, '-o', 'x.avi')
    assert 'OpenCV writes no .avi' in line
    write_video('in.avi', [images.read_image(small)])
    assert 'videos are written as' in refused(capsys, '-i', 'in.avi', *CAMVID, '-o', 'x.jpg')
    assert not list(Path().glob('result*'))


def test_outputs_that_cannot_be_used(small, capsys):
    Path('file').touch()
    for output, message in (
        ('file/a.jpg', 'cannot be written'),
        ('a.xyz', 'OpenCV writes no .xyz'),
        ('a.mp4', 'OpenCV writes no .mp4'),
        ('small.png', 'is an input and would be overwritten'),
    ):
        assert message in refused(capsys, '-i', 'small.png', *CAMVID, '-o', output)
    line = refused(capsys, '-i', 'small.png', 'small.png', *CAMVID, '-o', 'file')
    assert 'is a file; several results need a folder' in line
    assert small.stat().st_size > 5000


def test_options_that_cannot_be_used(small, capsys):
    for options, message in (
        (['-c', 'tpu'], "argument -c/--context: invalid choice: 'tpu'"),
        (['-t', 'half', '-c', 'cpu'], '-t half: '),
        (['--opacity', '0'], '--opacity must be above 0'),
        (['--scale', '-1'], 'write numbers above 0 and up to 16'),
        (['--size', '12'], 'write it as HEIGHTxWIDTH'),
        (['--stride', '3x3'], '--stride belongs to --slide'),
        (['-cfg', 'none.yaml'], 'none.yaml: no such config'),
        (['--set', 'lrr=1'], 'lrr: unknown key, the nearest is lr'),
        (['-m', 'none.h5'], 'none.h5: no such file of weights'),
        (['-m', 'small.png'], 'truncated or not an NNabla .h5 file'),
        (['--set', 'num_classes=12', '--set', 'dataset=', '--set', 'classes='],
         'it has 11 classes and the network has 12'),
        (['--set', 'dens_k=[24, 24, 24, 25]'], 'does the config belong to these weights'),
    ):  # fmt: skip
        assert message in refused(capsys, '-i', small, *CAMVID, *options)
    assert '-i' in refused(capsys)


def test_a_backbone_needs_partial(small, capsys, caplog):
    models.create('d3net_t')(nn.Variable((1, 3, 64, 64)))
    weights.load(helpers.PROJECT / 'resources' / 'D3Net_T_camvid.h5')
    with nn.parameter_scope('backbone'):
        nn.save_parameters('backbone.h5')
    nn.clear_parameters()
    line = refused(capsys, '-i', small, *CAMVID, '-m', 'backbone.h5')
    assert 'the backbone alone' in line
    assert started('-i', small, *CAMVID, '-m', 'backbone.h5', '--partial') == 0
    assert '7 of the network are not in it' in caplog.text


def test_with_an_image_alone_d3net_l_is_downloaded(small, shared):
    """One of the same names and shapes, from a local server, stands for the published file."""
    seeded = helpers.seeded_weights(shared)
    meta, _ = seeded.load_fixture('d3net_l')
    models.create('d3net_l')(nn.Variable((1, 3, 64, 64)))
    weights.load(dict(seeded.seeded_state(meta)))
    (small.parent / 'site').mkdir()
    weights.save('site/D3Net-L.h5')
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory='site')
    handler.log_message = lambda *args: None
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        process = helpers.run(
            INFER, '-i', 'small.png', cwd=small.parent,
            NNSEG_WEIGHTS_URL=f'http://127.0.0.1:{server.server_address[1]}',
            NNSEG_CACHE=str(small.parent / 'cache'),
        )  # fmt: skip
        server.shutdown()
    assert process.returncode == 0, process.stderr
    assert (small.parent / 'cache' / 'D3Net-L.h5').stat().st_size > 150e6
    assert images.read_image(small.parent / 'result.jpg').shape == (90, 120, 3)


def test_an_interrupted_run_leaves_no_half_file(small):
    """Killed by Ctrl-C in the middle of a folder: what is there is whole."""
    import signal
    import subprocess
    import sys
    import time

    Path('in').mkdir()
    for i in range(200):
        shutil.copy(small, f'in/{i:03d}.png')
    command = [sys.executable, str(INFER), '-i', 'in', *CAMVID]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while len(list(Path().glob('results/*.jpg'))) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b'Traceback' not in errors
    written = sorted(p for p in Path('results').iterdir())
    assert 3 <= len(written) < 200
    for path in written:
        assert images.read_image(path).shape == (90, 120, 3)
