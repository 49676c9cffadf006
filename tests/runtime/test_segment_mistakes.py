"""Mistakes and damaged files end runtime/segment.py with one line."""

import os
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from runtime import segment
from support import export_runs, runtime_runs, stand_ins
from support.runtime_runs import refused
from support.tiny_config import write_tiny_config

IMAGE = stand_ins.image(32, 32)


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """A file that the exporter wrote."""
    folder = tmp_path_factory.mktemp('exported')
    config = write_tiny_config(folder, 'folder', 5)
    options = ('--size', '32x32', '--output', 'maps')
    assert export_runs.started('-cfg', config, '-o', folder / 'a.onnx', *options) == 0
    return (folder / 'a.onnx').read_bytes()


@pytest.fixture
def network(exported, working_folder):
    """``a.onnx``, beside ``photo.png`` and ``photos``."""
    Path('a.onnx').write_bytes(exported)
    Path('photos').mkdir()
    for name in ('photo.png', 'photos/photo.png'):
        cv2.imwrite(name, IMAGE)
    return onnx.load_from_string(exported)


def properties_changed(network, **changes):
    """Write a.onnx with other metadata; None removes a key."""
    for name, value in changes.items():
        (entry,) = [entry for entry in network.metadata_props if entry.key == name]
        entry.value = value or ''
        if value is None:
            network.metadata_props.remove(entry)
    Path('a.onnx').write_bytes(network.SerializeToString())


@pytest.mark.parametrize(
    'arguments, words',
    [
        (['a.onnx'], 'nothing to segment: name files, folders or patterns with -i'),
        (['none.onnx', '-i', 'photo.png'], 'none.onnx: no such file'),
        (['a.onnx', '-i', 'none.png'], 'none.png: no such file or folder'),
        (['a.onnx', '-i', 'n*.png'], 'n*.png: no such file or folder'),
        (['a.onnx', '-i', 'photo.png', '-o', 'x.txt'], '-o x.txt: OpenCV writes no such images'),
        (['a.onnx', '-i', 'photo.png', '-o', 'photo.png'], 'photo.png: would replace an input'),
        (['a.onnx', '-i', 'photo.png', '-o', 'a.onnx'], 'a.onnx: OpenCV writes no such images'),
        (['a.onnx', '-i', 'photos', '-o', 'photo.png'], '-o photo.png: is a file'),
        (['a.onnx', '-i', 'photo.png', '--size', '16x16'], 'of 32x32 only; leave out --size'),
        (['a.onnx', '-i', 'photo.png', '--size', '16'], '16: write HxW, such as 512x1024'),
        (['a.onnx', '-i', 'photo.png', '--opacity', '2'], 'a number above 0 and at most 1'),
        (['a.onnx', '-i', 'photo.png', '--device', 'cuda'], '--device cuda: the installed'),
        (['a.onnx', '--benchmark', '0'], '0: write a whole number of at least 1'),
        (['a.onnx', '--benchmark', '-o', 'x'], '--benchmark writes no pictures; leave out -o'),
        (['a.onnx', '--colour'], 'unrecognized arguments: --colour; --help lists the options'),
        (['a.xml', '-i', 'photo.png'], 'a.xml: only openvino runs .xml files; use --runtime openv'),
    ],
)  # fmt: skip
def test_a_mistake_is_named_in_one_line(network, capsys, arguments, words):
    Path('a.xml').write_text('<net/>')
    assert words in refused(capsys, *arguments)
    assert not Path('result.jpg').exists()


@pytest.mark.parametrize('runtime', segment.RUNTIMES)
def test_a_foreign_network_is_refused_in_one_line(network, capsys, runtime):
    del network.metadata_props[:]
    Path('a.onnx').write_bytes(network.SerializeToString())
    line = refused(capsys, 'a.onnx', '-i', 'photo.png', '--runtime', runtime)
    assert 'a.onnx: not a file that python -m engine.export wrote (its metadata lack' in line


@pytest.mark.parametrize('runtime', segment.RUNTIMES)
@pytest.mark.parametrize('content', ['text', 'half'])
def test_a_file_that_is_no_network_is_refused_in_one_line(network, capsys, runtime, content):
    whole = Path('a.onnx').read_bytes()
    Path('a.onnx').write_bytes(b'a text' * 9 if content == 'text' else whole[: len(whole) // 2])
    line = refused(capsys, 'a.onnx', '-i', 'photo.png', '--runtime', runtime)
    assert f'a.onnx: {runtime} ' in line
    assert 'cannot run it' in line


@pytest.mark.parametrize(
    'changes, words',
    [
        ({'palette': None}, "lack 'palette'"),
        ({'palette': '[[1, 2, 3]]'}, '1 colours, 5 classes'),
        ({'palette': '[[1, 2, 300], [0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]'}, 'damaged'),
        ({'size': '"large"'}, 'damaged'),
        ({'size_divisor': '0'}, 'damaged'),
        ({'output': 'boxes'}, 'damaged'),
        ({'channel_order': 'yuv'}, 'damaged'),
    ],
)
def test_metadata_that_cannot_be_are_refused(network, capsys, changes, words):
    properties_changed(network, **changes)
    line = refused(capsys, 'a.onnx', '-i', 'photo.png')
    assert 'a.onnx: not a file that python -m engine.export wrote (its metadata' in line
    assert words in line


def test_a_size_in_the_metadata_that_is_not_the_files_ends_in_one_line(network, capsys):
    properties_changed(network, size='[16, 16]')
    assert 'a.onnx: onnxruntime' in refused(capsys, 'a.onnx', '-i', 'photo.png')


def test_floating_point_pixels_are_refused(network, capsys):
    cv2.imwrite('float.tif', IMAGE.astype(np.float32) / 255)
    line = refused(capsys, 'a.onnx', '-i', 'float.tif')
    assert 'float.tif: pixels of float32 are not read; save it with 8 bits' in line


@pytest.mark.parametrize('name', ['stdout', 'stderr'])
def test_a_closed_output_keeps_no_picture_from_being_written(network, monkeypatch, name):
    monkeypatch.setattr(sys, name, None)
    assert runtime_runs.started('a.onnx', '-i', 'photo.png') == 0
    assert Path('result.jpg').exists()


@pytest.mark.parametrize('ending', ['.jpg', '.png'])
def test_half_an_image_is_refused(network, capsys, ending):
    data = cv2.imencode(ending, np.tile(IMAGE, (8, 8, 1)))[1].tobytes()
    Path(f'half{ending}').write_bytes(data[: len(data) // 2])
    assert f'half{ending}: damaged' in refused(capsys, 'a.onnx', '-i', f'half{ending}')


def test_libraries_print_no_lines_of_their_own(network, capfd):
    data = bytearray(cv2.imencode('.png', np.tile(IMAGE, (8, 8, 1)))[1])
    data[data.index(b'IDAT') + 200] ^= 255
    Path('broken.png').write_bytes(data)
    assert cv2.imread('broken.png') is None
    assert 'libpng' in capfd.readouterr().err
    assert refused(capfd, 'a.onnx', '-i', 'broken.png').startswith('error: broken.png: damaged')


def test_an_unusable_file_of_several_is_counted(network, capsys):
    Path('photos/text.jpg').write_text('no image')
    Path('photos/list.mp4').write_text('#EXTM3U\n/etc/hostname\n')
    Path('photos/bad\x1b[2J.png').write_bytes(b'')
    os.mkfifo('photos/pipe.jpg')  # is no file, and would never end
    assert runtime_runs.started('a.onnx', '-i', 'photos') == 1
    output = capsys.readouterr()
    assert '1 of 4 files written to results in ' in output.out
    assert output.out.endswith(', 3 could not be used\n')
    lines = sorted(output.err.splitlines())
    assert [line.split(': ')[1] for line in lines] == [
        'photos/bad\\x1b[2J.png', 'photos/list.mp4', 'photos/text.jpg',
    ]  # fmt: skip
    assert 'a list of other files' in lines[1]
    assert os.listdir('results') == ['photo.jpg']


def test_results_do_not_replace_inputs_or_each_other(network, capsys):
    cv2.imwrite('photos/photo_labels.png', IMAGE)
    options = ('-o', 'photos', '--save-labels')
    line = refused(capsys, 'a.onnx', '-i', 'photos', *options)
    assert 'photos/photo_labels.png: would replace an input or another result' in line
    Path('results').symlink_to('photos')
    cv2.imwrite('photos/b.jpg', IMAGE)
    assert 'results/b.jpg: would replace' in refused(capsys, 'a.onnx', '-i', 'photos')


def test_earlier_results_in_the_folder_are_not_inputs(network, capsys):
    for _ in range(2):
        assert runtime_runs.started('a.onnx', '-i', '.', '-o', 'results') == 0
        assert '2 of 2 files written' in capsys.readouterr().out


@pytest.mark.parametrize(
    'image, words',
    [
        (None, 'None is not an image'),
        (np.zeros((4, 4), np.float32), 'an array of float32 is not an image'),
        (np.zeros((4, 4, 4), np.uint8), 'not (4, 4, 4)'),
        (np.zeros((0, 4), np.uint8), 'is not an image'),
    ],
)
def test_what_is_no_image_is_named(network, image, words):
    model = segment.load('a.onnx', 'onnxruntime', threads=1)
    with pytest.raises(segment.SegmentError) as raised:
        model(image)
    assert words in str(raised.value)


def test_a_missing_runtime_is_named_with_the_command(network, capsys, monkeypatch):
    monkeypatch.setitem(runtime_runs.sys.modules, 'onnxruntime', None)
    line = refused(capsys, 'a.onnx', '-i', 'photo.png')
    assert 'onnxruntime is not installed: python -m pip install onnxruntime' in line
    monkeypatch.setattr(segment.importlib.util, 'find_spec', lambda name: None)
    assert segment.main(['a.onnx', '-i', 'photo.png']) == 2
    assert 'neither openvino nor onnxruntime is installed' in capsys.readouterr().err


def test_grey_images_are_images(network):
    model = segment.load('a.onnx', 'onnxruntime', threads=1)
    grey = IMAGE[..., 0]
    assert np.array_equal(model(grey), model(np.dstack([grey] * 3)))
    assert model.overlay(grey, model(grey)).shape == (32, 32, 3)
