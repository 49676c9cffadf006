"""runtime/segment.py writes what infer.py writes for the size of an exported file."""

import ast
import hashlib
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import models
from common import silent_imports
from datasets import image_files
from datasets.loading import transforms
from engine import Segmenter
from engine.config import loading
from engine.inference.test_time import Protocol
from runtime import segment
from support import export_runs, infer_runs, runtime_runs, stand_ins
from support.infer_runs import read_video
from support.tiny_config import write_balanced_config

NNABLA = ('-c', 'cpu', '--backend', 'nnabla')


@pytest.fixture(scope='module')
def image():
    """Colours in blocks, (70, 100, 3): larger than the exported files take."""
    return stand_ins.image(70, 100, seed=3)


@pytest.fixture(scope='module')
def config(tmp_path_factory, image):
    return write_balanced_config(tmp_path_factory.mktemp('config'), image)


@pytest.fixture(scope='module')
def exported(config):
    """A function that exports the tiny network once for each set of options."""

    def export(*options, size='48x64'):
        path = config.parent / f'{"_".join(options).replace("-", "")}{size}.onnx'
        if not path.exists():
            arguments = ('-cfg', config, '-o', path, '--size', size, *options)
            assert export_runs.started(*arguments) == 0
        return path

    return export


@pytest.fixture(scope='module')
def predictor(config):
    return Segmenter(config, context='cpu', backend='nnabla').network.predictor


@pytest.fixture
def folder(working_folder, image):
    """A folder of images and a video in many forms."""
    inputs = working_folder / 'in'
    (inputs / 'deeper').mkdir(parents=True)
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(image[..., ::-1]).save(inputs / 'turned.jpg', exif=exif)
    Image.fromarray(image[..., ::-1]).save(inputs / 'deeper' / 'turned.png', exif=exif)
    Image.fromarray(image[..., 0]).save(inputs / 'grey.png')
    cv2.imwrite(str(inputs / 'deep.png'), image.astype(np.uint16) * 257)
    cv2.imwrite(str(inputs / 'two.png'), image[::-1])
    cv2.imwrite(str(inputs / 'two.bmp'), image[:48, :64])
    cv2.imwrite(str(inputs / 'größer.webp'), image[:60])
    (inputs / 'notes.txt').write_text('no image')
    infer_runs.write_video(inputs / 'clip.avi', [np.roll(image, 9 * i, axis=1) for i in range(3)])
    return inputs


def pixels(path):
    """Return the pixels of a picture, or the frames of a video."""
    if path.suffix == '.mp4':
        return np.array(read_video(path)[1])
    with Image.open(path) as picture:  # keeps the indices of a palette
        return np.asarray(picture)


def test_a_folder_becomes_what_infer_makes_of_it(config, exported, folder, capsys):
    """The same names, pictures, labels and palettes; the video has the same frames."""
    looks = ('--save-labels', '--save-color', '--opacity', '0.6')
    arguments = ('-i', folder, '-cfg', config, '--size', '48x64', '-o', 'expected', *NNABLA)
    network = exported('--output', 'maps')
    assert infer_runs.started(*arguments, *looks) == 0
    capsys.readouterr()
    assert runtime_runs.started(network, '-i', folder, '-o', 'found', *looks) == 0
    assert re.fullmatch(r'8 of 8 files written to found in .*\n', capsys.readouterr().out)
    names = sorted(str(p.relative_to('expected')) for p in Path('expected').rglob('*.*'))
    assert names == sorted(str(p.relative_to('found')) for p in Path('found').rglob('*.*'))
    assert len(names) == 8 + 2 * 7 + 2 * 3
    for name in names:
        expected, found = pixels(Path('expected', name)), pixels(Path('found', name))
        assert expected.shape == found.shape
        assert np.mean(expected == found) > 0.999, name
    assert len(np.unique(pixels(Path('found', 'deep_labels.png')))) > 2


FORMS = [
    ('--output', 'logits', '--dynamic-batch'),
    ('--output', 'probabilities', '--normalise', 'float32'),
    ('--output', 'labels', '--normalise', '--batch-size', '3'),
    ('--output', 'maps', '--normalise', '--batch-size', '2'),
]


@pytest.mark.parametrize(
    'form, runtime',
    [*((form, 'onnxruntime') for form in FORMS), *((form, 'openvino') for form in FORMS[1:3])],
)
def test_every_form_of_a_file_has_the_labels_of_nnabla(form, runtime, exported, predictor, image):
    """At the size of the file, for more images than a batch has."""
    model = segment.load(exported(*form), runtime=runtime, threads=1)
    images = [np.roll(image[:48, :64], 5 * i, axis=1) for i in range(4)]
    found = model.segment(images)
    for photo, labels in zip(images, found, strict=True):
        expected = predictor.labels(photo)
        assert labels.shape == expected.shape == (48, 64)
        assert labels.dtype == np.uint8
        # The mean that surrounds a uint8 image is a whole number; nothing is padded here.
        assert np.mean(labels == expected) > 0.999
    assert len(np.unique(found)) > 2
    assert np.array_equal(model(images[1]), found[1])


def test_the_input_is_that_of_nnabla_to_the_last_bit(config, exported, image):
    info = models.create(loading.load(config)).info
    (x,) = segment.load(exported('--output', 'maps'), threads=1).prepare([image[:48, :64]])
    expected = transforms.normalise(image[:48, :64], info.mean, info.std, info.channel_order)
    assert np.array_equal(x, expected)


def test_a_network_for_any_size_sees_an_image_at_its_own(exported, predictor, image):
    """NNabla computes the file's part, as no other file takes any size yet."""
    facts = segment.load(exported('--output', 'maps'), threads=1).facts
    any_size = facts | {'size': 'any', 'size_divisor': 8, 'smallest_size': 16}
    seen = []

    def run(x):
        seen.append(x.shape)
        return predictor.backend.run(x)

    model = segment.Model(any_size, run)
    image = image[:43, :61]
    labels = model(image)
    padded = np.pad(transforms.normalise(image, *_statistics(facts)), [(0, 0), (0, 5), (0, 3)])
    maps = predictor.backend.run(padded[None])[0]
    scores = [cv2.resize(m, (64, 48), interpolation=cv2.INTER_LINEAR)[:43, :61] for m in maps]
    assert seen == [(1, 3, 48, 64)]
    assert np.array_equal(labels, np.argmax(scores, axis=0))
    assert segment.Model(any_size, run, size=(24, 32))(image).shape == (43, 61)
    assert seen[-1] == (1, 3, 24, 32)
    of_config = any_size | {'protocol': {'size': [32, 40]}}
    assert segment.Model(of_config, run)(image).shape == (43, 61)
    assert seen[-1] == (1, 3, 32, 40)
    of_area = any_size | {'protocol': {'area_of': [86, 122]}}
    assert segment.Model(of_area, run)(image).shape == (43, 61)
    assert seen[-1] == (1, 3, 88, 120)  # as Protocol(area_of=(86, 122)).views(43, 61)
    assert Protocol(area_of=(86, 122)).views(43, 61) == [(88, 120)]
    with pytest.raises(segment.SegmentError, match='does not take --size 20x30; use 24x32'):
        segment.Model(any_size, run, size=(20, 30))


def test_a_file_of_openvino_is_loaded_with_the_weights_beside_it(exported, working_folder, image):
    network = exported('--output', 'maps')
    openvino = silent_imports.load('openvino')
    facts = segment.load(network, 'onnxruntime', threads=1).facts
    graph = openvino.Core().read_model(network)
    openvino.save_model(graph, 'a.xml', compress_to_fp16=False)
    digest = hashlib.sha256(Path('a.bin').read_bytes()).hexdigest()
    text = json.dumps({**facts, 'bin_sha256': digest})
    graph.set_rt_info(text, ['nnseg', 'metadata'])
    openvino.save_model(graph, 'a.xml', compress_to_fp16=False)
    model = segment.load('a.xml', threads=1)
    assert model.facts == {**facts, 'bin_sha256': digest}
    expected = segment.load(network, 'onnxruntime', threads=1)(image)
    assert np.mean(model(image) == expected) > 0.999
    weights = bytearray(Path('a.bin').read_bytes())
    weights[100] ^= 1
    Path('a.bin').write_bytes(weights)
    with pytest.raises(segment.SegmentError, match=r'a.xml: a.bin is that of another file'):
        segment.load('a.xml', threads=1)


def test_views_that_are_not_made_are_mentioned(exported, working_folder, image, capsys):
    network = exported('--output', 'maps', '--set', 'test_scales=[0.5]', 'test_flip=true')
    cv2.imwrite('photo.png', image)
    capsys.readouterr()
    assert runtime_runs.started(network, '-i', 'photo.png') == 0
    assert capsys.readouterr().err == (
        'note: infer.py would show images to this network with {"flip": true}; '
        'here it sees each image once\n'
    )


def _statistics(facts):
    return facts['mean'], facts['std'], facts['channel_order']


def test_bit_depth_and_orientation_are_those_of_the_config(exported, working_folder, image):
    keys = ('--set', 'bit_depth=12', 'exif_orientation=ignore')
    model = segment.load(exported('--output', 'maps', *keys), threads=1)
    cv2.imwrite('deep.png', image.astype(np.uint16) * 16 + 7)
    assert np.array_equal(model.read('deep.png'), image)
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(image).save('turned.jpg', exif=exif)
    assert model.read('turned.jpg').shape == image.shape


def test_the_benchmark_prints_times_and_what_was_timed(exported, working_folder, image, capsys):
    cv2.imwrite('photo.png', image)
    network = exported('--output', 'maps', '--normalise', '--batch-size', '2')
    assert runtime_runs.started(network, '--benchmark', '4', '-i', 'photo.png') == 0
    text = capsys.readouterr().out
    for fact in (
        'd3net, maps of 48x64',
        'onnxruntime 1.',
        'on cpu, 1 threads',
        f'OpenCV {cv2.__version__}',
        segment.cpu_name(),
        'photo.png, 100x70 pixels in batches of 2',
        '4 runs',
    ):
        assert fact in text
    rows = {row.split()[0]: [float(v) for v in row.split()[1:]] for row in text.splitlines()[-2:]}
    assert list(rows) == ['network', 'whole']
    for middle, high, mean, rate in rows.values():
        assert 0 < middle <= high
        assert rate == pytest.approx(2 * 1000 / mean, rel=0.1)
    assert rows['network'][0] < rows['whole'][0]
    assert list(working_folder.iterdir()) == [working_folder / 'photo.png']


def test_a_truncated_video_ends_with_status_1(exported, working_folder, image, capsys):
    infer_runs.write_video('whole.avi', [image] * 6)
    data = Path('whole.avi').read_bytes()
    Path('half.avi').write_bytes(data[: len(data) // 2])
    network = exported('--output', 'maps')
    capsys.readouterr()
    assert runtime_runs.started(network, '-i', 'half.avi', '-o', 'half.mp4') == 1
    written = len(read_video('half.mp4')[1])
    assert 0 < written < 6
    assert capsys.readouterr().err == (
        f'error: half.avi: its header promises 6 frames, {written} can be read\n'
    )


def test_a_legend_is_beside_the_picture(exported, image):
    model = segment.load(exported('--output', 'maps'), threads=1)
    panel = model.legend(200)
    assert panel.shape[0] == 200
    assert panel.shape[1] > 60
    for colour in model.palette:
        assert (panel == colour[::-1]).all(axis=2).sum() > 50


def test_pictures_are_written_by_atomic_replacement(working_folder, image):
    segment.write_image(Path('a.png'), image)
    Path('link.png').symlink_to('a.png')
    segment.write_image(Path('link.png'), image[::-1])
    assert np.array_equal(image_files.read_image(Path('a.png')), image[::-1])
    assert sorted(p.name for p in working_folder.iterdir()) == ['a.png', 'link.png']


def test_the_file_is_python_3_8():
    ast.parse(runtime_runs.SEGMENT.read_text(encoding='utf-8'), feature_version=(3, 8))
