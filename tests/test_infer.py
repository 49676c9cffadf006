"""infer.py as a user types it."""

import functools
import http.server
import os
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import cv2
import nnabla as nn
import numpy as np
import pytest
from PIL import Image

import datasets
import helpers
import infer
import models
from command import UserError, run
from datasets import image_files as images
from engine import context, inference
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
        ('', 'an empty name'),
        ('none.png', 'none.png: no such file or folder'),
        ('x' * 300 + '.png', 'cannot be read (File name too long)'),
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
        ('a.exr', 'OpenCV writes no .exr'),
        ('a.pgm', 'OpenCV writes no .pgm'),
        ('x' * 300 + '.png', 'cannot be written (File name too long)'),
        ('x' * 300 + '/a.png', 'cannot be written (File name too long)'),
        ('a.mp4', 'OpenCV writes no .mp4'),
        ('small.png', 'is an input and would be overwritten'),
    ):
        assert message in refused(capsys, '-i', 'small.png', *CAMVID, '-o', output)
    line = refused(capsys, '-i', 'small.png', 'small.png', *CAMVID, '-o', 'file')
    assert 'is a file; several results need a folder' in line
    assert small.stat().st_size > 5000


@contextmanager
def without_rights():
    """As a user who owns nothing here, if this is the superuser; whose folder is passable then."""
    superuser = os.getuid() == 0
    if superuser:
        Path().absolute().chmod(0o755)
        os.seteuid(65534)
    try:
        yield
    finally:
        if superuser:
            os.seteuid(0)


def test_places_that_are_closed_to_the_user(small, capsys):
    Path('closed').mkdir(mode=0)
    options = inference.Options()
    with without_rights():
        for name in ('closed/a.png', 'closed/*.png'):
            with pytest.raises(UserError, match='cannot be read .Permission denied'):
                inference.plan([name], None, options)
        for output in ('closed/a.png', 'closed/sub/a.png'):
            with pytest.raises(UserError, match='cannot be written .Permission denied'):
                inference.plan(['small.png'], output, options)
    Path('closed').chmod(0o555)
    with without_rights(), pytest.raises(UserError, match='closed/new/a.png: cannot be written'):
        inference.plan(['small.png'], 'closed/new/a.png', options)


def test_nothing_is_created_for_a_command_that_is_refused(small, capsys):
    before = sorted(os.listdir())
    for options in (
        ['--set', 'lrr=1'],
        ['-m', 'none.h5'],
        ['-m', 'small.png'],
        ['-t', 'half'],
        ['--stride', '3x3'],
    ):
        for output in ('new/deeper/x.png', 'new/'):
            refused(capsys, '-i', small, *CAMVID, '-o', output, *options)
        refused(capsys, '-i', small, small, *CAMVID, '-o', 'new', *options)
    assert sorted(os.listdir()) == before


def test_results_that_would_take_the_place_of_inputs_or_of_each_other(small, capsys):
    frame = images.read_image(small)
    for name in ('a.png', 'a_labels.png', 'b.jpg', 'w_color.png'):
        images.write_image(Path('p') / name, frame)
    write_video('p/v.avi', [frame])
    images.write_image(Path('q/v/00000001_labels.png'), frame)
    write_video('q/v.avi', [frame])
    write_video('w.avi', [frame])
    before = {path: path.read_bytes() for path in Path().rglob('*.*')}
    for arguments, message in (
        (['p/a.png', 'p/a_labels.png', '-o', 'p', '--save-labels'], 'p/a_labels.png: is an input'),
        (['p/a_labels.png', '-o', 'p/a.png', '--save-labels'], 'p/a_labels.png: is an input'),
        (['p/w_color.png', '-o', 'p/w.png', '--save-color'], 'p/w_color.png: is an input'),
        (['p', '-o', 'p'], 'p/b.jpg: is an input'),
        (['p/*.jpg', '-o', 'p'], 'p/b.jpg: is an input'),
        (['q', '-o', 'q', '--save-labels'], 'q/v/00000001_labels.png: would be overwritten'),
    ):
        assert message in refused(capsys, '-i', *arguments, *CAMVID)
    Path('v').touch()
    line = refused(capsys, '-i', 'w.avi', *CAMVID, '-o', 'v.avi', '--save-color')
    assert 'v: is a file; the class maps of a video need this folder' in line
    assert {path: path.read_bytes() for path in Path().rglob('*.*')} == before


def test_results_beside_their_inputs(small, capsys):
    for name in ('p/a.png', 'p/sub/b.png'):
        Path(name).parent.mkdir(exist_ok=True)
        shutil.copy(small, name)
    assert started('-i', 'p/sub', *CAMVID, '-o', '.') == 0
    assert started('-i', 'p/*.png', *CAMVID, '-o', 'p') == 0
    Path('p/a.jpg').unlink()
    assert started('-i', 'p', *CAMVID, '-o', 'p') == 0
    found = sorted(str(path) for path in Path().rglob('*.jpg'))
    assert found == ['b.jpg', 'p/a.jpg', 'p/sub/b.jpg']


def test_one_bad_file_does_not_end_the_batch(small, capfd, monkeypatch):
    """Wider than JPEG can be, a name that has no room, a place that is taken, too little memory."""
    Path('in').mkdir()
    images.write_image(Path('in/b_wide.png'), np.zeros((2, 66000, 3), np.uint8))
    for name in ('a', 'c' * 250, 'd', 'e', 'z'):
        shutil.copy(small, f'in/{name}.png')
    Path('results/d.jpg').mkdir(parents=True)

    def read_image(path, original=images.read_image):
        if path.name == 'e.png':
            raise MemoryError
        return original(path)

    monkeypatch.setattr(images, 'read_image', read_image)
    options = '--size', '48x64'
    assert started('-i', 'in', *CAMVID, *options) == 1
    output = capfd.readouterr()
    assert '2 of 6 files written to results' in output.out
    assert '4 could not be used' in output.out
    lines = [line for line in output.err.splitlines() if 'running on' not in line]
    for line, message in zip(
        lines,
        ('b_wide.jpg: .jpg cannot hold 66000x2 pixels', 'File name too long',
         'd.jpg: cannot be written (Is a directory)', 'in/e.png: not enough memory'),
        strict=True,
    ):  # fmt: skip
        assert line.startswith('error: ')
        assert message in line
    assert images.read_image(Path('results/z.jpg')).shape == (90, 120, 3)


def test_a_full_disk_ends_the_batch(small, capsys):
    Path('in').mkdir()
    for name in ('a', 'b'):
        shutil.copy(small, f'in/{name}.png')
    with helpers.full_disk(500):
        assert 'results/a.jpg: cannot be written' in refused(capsys, '-i', 'in', *CAMVID)


def test_folders_that_cannot_be_searched_are_counted(small, capsys):
    for name in ('in/a.png', 'in/sub/b.png'):
        Path(name).parent.mkdir(exist_ok=True)
        shutil.copy(small, name)
    os.symlink('nothing', 'in/lost.png')
    assert started('-i', 'in', *CAMVID) == 1
    output = capsys.readouterr()
    assert '2 of 3 files written' in output.out
    assert 'error: in/lost.png: not a file, or a link to nothing' in output.err


def test_a_truncated_video_is_written_as_far_as_it_goes(small, capsys, caplog):
    Path('in').mkdir()
    frame = images.read_image(small)
    write_video('in/a.avi', [frame] * 6)
    whole = Path('in/a.avi').read_bytes()
    Path('in/b.avi').write_bytes(whole[: len(whole) // 2])
    assert started('-i', 'in/b.avi', *CAMVID) == 1
    written = len(read_video('result.mp4')[1])
    assert 0 < written < 6
    assert f'in/b.avi: its header promises 6 frames, {written} can be read' in caplog.text
    assert 'result.mp4 written in' in capsys.readouterr().out
    assert started('-i', 'in', *CAMVID) == 1
    output = capsys.readouterr()
    assert '1 of 2 files written' in output.out
    assert 'error: in/b.avi: its header promises 6 frames' in output.err
    assert len(read_video('results/a.mp4')[1]) == 6


def test_a_video_too_wide_to_be_written(small, capfd):
    Path('in').mkdir()
    write_video('in/a.avi', [np.zeros((8, 9000, 3), np.uint8)])
    shutil.copy(small, 'in/b.png')
    process = helpers.run(INFER, '-i', 'in', *CAMVID, '--size', '32x64', cwd=small.parent)
    assert process.returncode == 1, process.stderr
    assert process.stderr.splitlines() == [
        'running on the CPU',
        'error: results/a.mp4: .mp4 cannot hold 9000x8 pixels at 12.5 frames a second',
    ]
    assert os.listdir('results') == ['b.jpg']


def test_the_scale_holds_for_videos_too(small):
    write_video('in.avi', [images.read_image(small)])
    images.write_image(Path('frame.png'), read_video('in.avi')[1][0])
    maps = []
    for name, options in (
        ('in.avi', ['--scale', '0.3']),
        ('frame.png', ['--scale', '0.3']),
        ('frame.png', []),
    ):
        shutil.rmtree('out', ignore_errors=True)
        output = 'out/a.avi' if name == 'in.avi' else 'out/a.png'
        assert started('-i', name, *CAMVID, *options, '--save-labels', '-o', output) == 0
        (path,) = Path('out').rglob('*_labels.png')
        maps.append(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
    assert np.array_equal(maps[0], maps[1])
    assert not np.array_equal(maps[1], maps[2])


def test_the_rate_of_a_folder(small, capsys, monkeypatch):
    Path('in').mkdir()
    for name in ('a', 'b', 'c'):
        shutil.copy(small, f'in/{name}.png')
    Path('in/d.png').touch()
    times = iter([10.0, 14.0])
    clock = SimpleNamespace(monotonic=lambda: next(times))
    monkeypatch.setattr(inference, 'time', clock)
    assert started('-i', 'in', *CAMVID) == 1
    assert '3 of 4 files written to results in 4.0 s (0.75 a second)' in capsys.readouterr().out


def test_memory_is_released_when_the_size_changes(small, monkeypatch):
    Path('in').mkdir()
    released = []
    for name, size in (('a', (120, 90)), ('b', (120, 90)), ('c', (200, 60))):
        images.write_image(Path(f'in/{name}.png'), cv2.resize(images.read_image(small), size))
    monkeypatch.setattr(context, 'release_cached_memory', released.append)
    assert started('-i', 'in', *CAMVID) == 0
    assert [choice.name for choice in released] == ['cpu', 'cpu']


def test_the_address_of_weights_is_that_of_the_option(small, capsys, monkeypatch):
    monkeypatch.setenv('NNSEG_CACHE', 'cache')
    address = 'http://127.0.0.1:9/weights'  # where nobody listens
    line = refused(capsys, '-i', small, '-c', 'cpu', '--weights-url', address)
    assert address in line


def test_options_that_cannot_be_used(small, capsys):
    for options, message in (
        (['-c', 'tpu'], "argument -c/--context: invalid choice: 'tpu'"),
        (['-t', 'half', '-c', 'cpu'], '-t half: '),
        (['--opacity', '0'], '--opacity must be above 0'),
        (['--scale', '-1'], 'write numbers above 0 and up to 16'),
        (['--size', '12'], 'write it as HEIGHTxWIDTH'),
        (['--stride', '3x3'], '--stride (test_stride) belongs to --slide'),
        (['-cfg', 'none.yaml'], 'none.yaml: no such config'),
        (['--set', 'lrr=1'], 'lrr: unknown key; the nearest is lr'),
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


def test_with_an_image_alone_d3net_l_is_downloaded(small):
    """One of the same names and shapes, from a local server, stands for the published file."""
    models.create('d3net_l')(nn.Variable((1, 3, 64, 64)))
    helpers.randomize_parameters()
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
