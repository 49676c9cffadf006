"""Mistakes of users of infer.py: one-line errors, exit status, and no lost file."""

import os
import shutil
from pathlib import Path

import h5py
import nnabla as nn
import numpy as np

import models
from datasets import image_files as images
from models import weights
from support import programs
from support.infer_runs import CAMVID, refused, started, write_video
from support.tiny_config import tiny_camvid


def test_unusable_inputs_are_refused(small_photo, capsys):
    Path('text.jpg').write_text('hello')
    Path('text.mp4').write_text('hello')
    Path('cut.png').write_bytes(small_photo.read_bytes()[:5000])
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
        assert message in refused(capsys, '-i', name, *tiny_camvid())
    shutil.copy(small_photo, 'empty/c.png')
    shutil.copy(small_photo, 'empty/c.png.png')
    Path('empty/c.jpg').touch()
    assert 'c.png.jpg: 2 results would be written to it' in refused(
        capsys, '-i', 'empty', *tiny_camvid()
    )
    line = refused(capsys, '-i', small_photo, *tiny_camvid(), '-o', 'x.avi')
    assert 'OpenCV writes no .avi' in line
    write_video('in.avi', [images.read_image(small_photo)])
    assert 'videos are written as' in refused(capsys, '-i', 'in.avi', *tiny_camvid(), '-o', 'x.jpg')
    assert not list(Path().glob('result*'))


def test_unusable_outputs_are_refused(small_photo, capsys):
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
        assert message in refused(capsys, '-i', 'small.png', *tiny_camvid(), '-o', output)
    line = refused(capsys, '-i', 'small.png', 'small.png', *tiny_camvid(), '-o', 'file')
    assert 'is a file; several results need a folder' in line
    assert small_photo.stat().st_size > 5000


def test_a_refused_command_creates_nothing(small_photo, capsys):
    before = sorted(os.listdir())
    for options in (
        ['--set', 'lrr=1'],
        ['-m', 'none.h5'],
        ['-m', 'small.png'],
        ['-t', 'half'],
        ['--stride', '3x3'],
    ):
        for output in ('new/deeper/x.png', 'new/'):
            refused(capsys, '-i', small_photo, *tiny_camvid(), '-o', output, *options)
        refused(capsys, '-i', small_photo, small_photo, *tiny_camvid(), '-o', 'new', *options)
    assert sorted(os.listdir()) == before


def test_results_never_overwrite_inputs_or_each_other(small_photo, capsys):
    frame = images.read_image(small_photo)
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
        assert message in refused(capsys, '-i', *arguments, *tiny_camvid())
    Path('v').touch()
    line = refused(capsys, '-i', 'w.avi', *tiny_camvid(), '-o', 'v.avi', '--save-color')
    assert 'v: is a file; the class maps of a video need this folder' in line
    assert {path: path.read_bytes() for path in Path().rglob('*.*')} == before


def test_results_can_be_written_beside_their_inputs(small_photo, capsys):
    for name in ('p/a.png', 'p/sub/b.png'):
        Path(name).parent.mkdir(exist_ok=True)
        shutil.copy(small_photo, name)
    assert started('-i', 'p/sub', *tiny_camvid(), '-o', '.') == 0
    assert started('-i', 'p/*.png', *tiny_camvid(), '-o', 'p') == 0
    Path('p/a.jpg').unlink()
    assert started('-i', 'p', *tiny_camvid(), '-o', 'p') == 0
    found = sorted(str(path) for path in Path().rglob('*.jpg'))
    assert found == ['b.jpg', 'p/a.jpg', 'p/sub/b.jpg']


def test_one_bad_file_does_not_end_the_batch(small_photo, capfd, monkeypatch):
    """An image too wide for JPEG, an occupied path, and lack of memory; a long name is none."""
    Path('in').mkdir()
    images.write_image(Path('in/b_wide.png'), np.zeros((2, 66000, 3), np.uint8))
    for name in ('a', 'c' * 250, 'd', 'e', 'z'):
        shutil.copy(small_photo, f'in/{name}.png')
    Path('results/d.jpg').mkdir(parents=True)

    def read_bytes(path, original=images._read_bytes):
        if path.name == 'e.png':
            raise MemoryError
        return original(path)

    monkeypatch.setattr(images, '_read_bytes', read_bytes)
    options = '--size', '48x64'
    assert started('-i', 'in', *tiny_camvid(), *options) == 1
    output = capfd.readouterr()
    assert '3 of 6 files written to results' in output.out
    assert '3 could not be used' in output.out
    lines = [line for line in output.err.splitlines() if '[INFO]' not in line]
    for line, message in zip(
        lines,
        ('b_wide.jpg: .jpg cannot hold 66000x2 pixels',
         'd.jpg: cannot be written (Is a directory)', 'in/e.png: not enough memory'),
        strict=True,
    ):  # fmt: skip
        assert line.startswith('error: ')
        assert message in line
    assert images.read_image(Path('results/z.jpg')).shape == (90, 120, 3)
    assert Path(f'results/{"c" * 250}.jpg').exists()


def test_links_and_pipes_in_the_folder_of_results(small_photo, capfd):
    """A bad link costs one result, a good one stays; nothing waits for the reader of a pipe."""
    Path('in').mkdir()
    for name in 'abc':
        shutil.copy(small_photo, f'in/{name}.png')
    Path('results').mkdir()
    Path('results/a.jpg').symlink_to('a.jpg')
    Path('results/b.jpg').symlink_to('../b.jpg')
    Path('results/c.jpg').symlink_to('../none/c.jpg')
    assert started('-i', 'in', *tiny_camvid(), '--size', '48x64') == 1
    output = capfd.readouterr()
    assert '1 of 3 files written' in output.out
    assert 'results/a.jpg: cannot be written (its links form a cycle)' in output.err
    assert 'results/c.jpg: cannot be written (No such file or directory)' in output.err
    assert images.read_image(Path('b.jpg')).shape == (90, 120, 3)
    assert all(path.is_symlink() for path in Path('results').iterdir())
    os.mkfifo('results/d.jpg')
    shutil.move('in/c.png', 'in/d.png')
    assert 'results/d.jpg: is a pipe' in refused(capfd, '-i', 'in', *tiny_camvid())


def test_a_full_disk_ends_the_batch(small_photo, capsys):
    Path('in').mkdir()
    for name in ('a', 'b'):
        shutil.copy(small_photo, f'in/{name}.png')
    with programs.full_disk(500):
        assert 'results/a.jpg: cannot be written' in refused(capsys, '-i', 'in', *tiny_camvid())


def test_entries_that_cannot_be_read_are_counted(small_photo, capsys):
    for name in ('in/a.png', 'in/sub/b.png'):
        Path(name).parent.mkdir(exist_ok=True)
        shutil.copy(small_photo, name)
    os.symlink('nothing', 'in/lost.png')
    assert started('-i', 'in', *tiny_camvid()) == 1
    output = capsys.readouterr()
    assert '2 of 3 files written' in output.out
    assert 'error: in/lost.png: not a file, or a link to nothing' in output.err


def test_unusable_options_are_refused(small_photo, capsys):
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
        assert message in refused(capsys, '-i', small_photo, *CAMVID, *options)
    assert '-i' in refused(capsys)


def test_a_backbone_needs_partial(small_photo, capsys, caplog):
    models.create('d3net_t')(nn.Variable((1, 3, 64, 64)))
    weights.load(programs.PROJECT / 'resources' / 'D3Net_T_camvid.h5')
    with nn.parameter_scope('backbone'):
        nn.save_parameters('backbone.h5')
    nn.clear_parameters()
    line = refused(capsys, '-i', small_photo, *CAMVID, '-m', 'backbone.h5')
    assert 'the backbone alone' in line
    backbone = ['-m', 'backbone.h5', '--partial', '--scale', '1']
    assert started('-i', small_photo, *CAMVID, *backbone) == 0
    assert '7 parameters of the network are not in the file' in caplog.text


def test_weights_that_are_not_finite_need_an_option(small_photo, capsys, caplog):
    tiny = tiny_camvid()
    for value, problem in ((np.nan, 'NaN'), (np.inf, 'infinity')):
        shutil.copy(tiny[1].with_suffix('.h5'), 'bad.h5')
        with h5py.File('bad.h5', 'r+') as file:
            file['decode_head/conv_seg/conv/b'][0] = value
        options = ['-i', small_photo, *tiny, '-m', 'bad.h5']
        line = refused(capsys, *options)
        assert f'bad.h5: decode_head/conv_seg/conv/b has {problem}; use other weights, or' in line
        assert started(*options, *line.split()[-1:]) == 0
        assert f'conv/b has {problem}, so results may be meaningless' in caplog.text
        assert 'Warning' not in capsys.readouterr().err
