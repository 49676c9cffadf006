"""Two lines of Python: what may be passed, what is returned, threads, wrong input."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import engine
from common import once
from common.errors import InputError, UserError
from datasets import image_files
from engine import Segmenter
from engine.inference import ProtocolSettings, video
from support import programs, stand_ins
from support.tiny_config import write_tiny_config

IMAGE = stand_ins.image(45, 61)
SIDEWAYS = 6  # EXIF orientation of a camera held upright


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    return write_tiny_config(tmp_path_factory.mktemp('tiny'), 'camvid', 11)


@pytest.fixture(scope='module')
def segmenter(config):
    return Segmenter(config, context='cpu', backend='nnabla')


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / 'a.png'
    image_files.write_image(path, IMAGE)
    return path


def test_the_result_is_that_of_infer(config, segmenter, photo, tmp_path):
    result = segmenter(photo)
    process = programs.run(
        'infer.py', '-i', photo, '-cfg', config, '-c', 'cpu', '--backend', 'nnabla',
        '--save-labels', '-o', tmp_path / 'b.png', '--opacity', '0.7', '--legend',
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert len(np.unique(result.labels)) > 1
    labels = cv2.imread(str(tmp_path / 'b_labels.png'), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(result.labels, labels)
    assert np.array_equal(result.overlay(0.7, legend=True), cv2.imread(str(tmp_path / 'b.png')))
    printed = [line.split(maxsplit=1)[::-1] for line in process.stdout.splitlines()[1:]]
    assert printed == [[name, f'{share:.1%}'] for name, share in result.shares.items()]


def test_equal_pixels_give_equal_results(segmenter, photo):
    expected = segmenter(str(photo)).labels
    rgb = Image.fromarray(np.ascontiguousarray(IMAGE[..., ::-1]))
    with Image.open(photo) as opened:
        sources = [photo, IMAGE, IMAGE[:, ::-1].copy()[:, ::-1], rgb, rgb.convert('RGBA'), opened]
        results = segmenter(sources)
    assert isinstance(results, list)
    for result in results:
        assert np.array_equal(result.labels, expected)
        assert np.array_equal(result.image, IMAGE)
    assert segmenter([]) == []
    (alone,) = segmenter((photo,))
    assert np.array_equal(alone.labels, expected)


def test_grey_pictures_are_three_equal_channels(segmenter, tmp_path):
    grey = IMAGE[..., 0]
    image_files.write_image(tmp_path / 'grey.png', grey)
    expected = segmenter(np.dstack([grey] * 3)).labels
    for source in (grey, tmp_path / 'grey.png', Image.fromarray(grey)):
        assert np.array_equal(segmenter(source).labels, expected)


def test_a_result_does_not_change_with_the_array_of_the_caller(segmenter):
    frame = IMAGE.copy()
    result = segmenter(frame)
    frame[:] = 0
    assert np.array_equal(result.image, IMAGE)


@pytest.mark.parametrize('backend', ['nnabla', 'auto'])
def test_threads_get_the_results_of_one_thread(config, backend):
    """Also by backends that have to be compiled, whichever image of a size comes first."""
    images = [stand_ins.image(32 + 8 * (i % 3), 40, seed=i) for i in range(8)]
    alone = Segmenter(config, context='cpu', backend=backend)
    expected = [alone(image) for image in reversed(images)][::-1]
    segmenter = Segmenter(config, context='cpu', backend=backend)
    with ThreadPoolExecutor(4) as pool:
        for result, alone in zip(pool.map(segmenter, images), expected):
            assert np.array_equal(result.labels, alone.labels)
            assert np.array_equal(result.confidence, alone.confidence)
            assert np.array_equal(result.probabilities, alone.probabilities)


def test_views_can_be_chosen_for_all_images_or_for_one(config, segmenter):
    halved = Segmenter(
        config, context='cpu', backend='nnabla', protocol=ProtocolSettings(scales=(0.5,))
    )
    labels = halved(IMAGE).labels
    assert labels.shape == IMAGE.shape[:2]
    assert not np.array_equal(labels, segmenter(IMAGE).labels)
    assert np.array_equal(labels, segmenter(IMAGE, engine.Protocol(scales=(0.5,))).labels)


def test_an_image_of_pillow_is_used_as_its_pixels_are(segmenter, tmp_path, caplog):
    """So that the labels fit the image in the program; the path of its file is turned upright."""
    path = tmp_path / 'sideways.png'
    exif = Image.Exif()
    exif[0x0112] = SIDEWAYS
    Image.fromarray(IMAGE).save(path, exif=exif)
    once.reset()
    with Image.open(path) as image:
        assert segmenter(image).labels.shape == image.size[::-1] == (45, 61)
    (line,) = (message for message in caplog.messages if 'orientation' in message)
    assert line.startswith(f'{path}: is used as its pixels are, though its EXIF orientation is 6')
    assert segmenter(path).labels.shape == (61, 45)


@pytest.mark.parametrize(
    'source, message',
    [
        (None, 'None is not an image; cv2.imread returns it for a file that it cannot read'),
        (IMAGE / 255, r'float64 .*\(image \* 255\).round\(\).astype\(np.uint8\)'),
        (IMAGE.astype(np.uint16), r'uint16 .*\(image >> 8\).astype\(np.uint8\)'),
        (IMAGE.astype('>u2'), r'>u2 .*\(image >> 8\).astype\(np.uint8\)'),
        (IMAGE.astype(int), r'int64 .*image.astype\(np.uint8\)'),
        (IMAGE > 99, r'bool .*image.astype\(np.uint8\) \* 255'),
        (IMAGE[None], r'shape \(1, 45, 61, 3\) .*a list of images'),
        (IMAGE.transpose(2, 0, 1), r'shape \(3, 45, 61\) .*image.transpose\(1, 2, 0\)'),
        (np.dstack([IMAGE, IMAGE[..., 0]]), r'shape \(45, 61, 4\) .*image\[..., :3\]'),
        (IMAGE[..., :1], r'shape \(45, 61, 1\) .*image\[..., 0\]'),
        (IMAGE[..., :2], r'shape \(45, 61, 2\) .*\(H, W, 3\), BGR, or \(H, W\), grey'),
        (IMAGE[0, 0], r'shape \(3,\) .*an image is \(H, W, 3\), BGR'),
        (IMAGE[:0], r'shape \(0, 61, 3\) .*no pixels'),
        (Image.new('F', (4, 3)), r'mode F .*np.asarray\(image\), brought to 0 to 255'),
        (Image.new('I;16', (4, 3)), r'mode I;16 .*np.asarray\(image\), brought to 0 to 255'),
        (Image.new('LAB', (4, 3)), r"mode LAB .*image.convert\('RGB'\)"),
        (Image.new('La', (4, 3)), r"mode La .*image.convert\('LA'\)"),
        (Image.new('RGB', (0, 3)), 'without pixels'),
        (b'a.png', r'bytes are not an image; .*decode_image\(data, name\)'),
        ({'image': IMAGE}, r'\(dict\) is not an image; pass a path'),
        ('none.png', 'none.png: cannot be read .No such file'),
        ('http://127.0.0.1/a.png', 'http://127.0.0.1/a.png: is an address; download'),
        ([IMAGE, 'none.png'], r'images\[1\]: none.png: cannot be read'),
        ([IMAGE, [IMAGE]], r'images\[1\]: .*\(list\) is not an image'),
    ],
)
def test_wrong_input_is_one_line(segmenter, source, message):
    with pytest.raises(InputError, match=message) as caught:
        segmenter(source)
    assert len(str(caught.value)) < 400


def test_the_remedies_for_modes_of_pillow_work(segmenter):
    for mode, remedy in (('La', 'LA'), ('LAB', 'RGB')):
        assert segmenter(Image.new(mode, (64, 48)).convert(remedy)).labels.shape == (48, 64)


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('mode', ['1', 'L', 'LA', 'P', 'PA', 'RGB', 'RGBA', 'CMYK', 'YCbCr', 'HSV'])
def test_modes_of_pillow_are_read(segmenter, mode):
    through = {'HSV': 'RGB', 'LA': 'L', 'PA': 'P', 'YCbCr': 'RGB'}.get(mode, mode)
    image = Image.fromarray(IMAGE).convert(through).convert(mode)
    expected = np.asarray(image.convert('RGB'))[..., ::-1]
    if mode == 'P':
        image.info['transparency'] = bytes([0, 255, 3])  # of a PNG; Pillow warns if it is dropped
    assert np.array_equal(segmenter(image).image, expected)


def test_the_remedies_for_arrays_work(segmenter):
    expected = segmenter(IMAGE).labels
    as_float = IMAGE / 255
    alpha = np.dstack([IMAGE, IMAGE[..., 0]])
    planes = IMAGE.transpose(2, 0, 1)
    for array in ((as_float * 255).round().astype(np.uint8), alpha[..., :3],
                  planes.transpose(1, 2, 0), IMAGE.astype(int).astype(np.uint8)):  # fmt: skip
        assert np.array_equal(segmenter(array).labels, expected)


def test_a_damaged_image_of_pillow_is_one_line(segmenter, tmp_path):
    path = tmp_path / 'cut.jpg'
    image_files.write_image(path, stand_ins.image(90, 90))
    path.write_bytes(path.read_bytes()[:2000])
    with Image.open(path) as image, pytest.raises(InputError, match='cut.jpg: damaged'):
        segmenter(image)


def test_a_video_is_segmented_frame_by_frame(segmenter, tmp_path):
    path = tmp_path / 'drive.avi'
    frames = [stand_ins.image(48, 64, seed=i) for i in range(3)]
    with video.video_writer(path, 10) as append:
        for frame in frames:
            append(frame)
    with pytest.raises(InputError, match=r"pass each frame of engine.VideoReader\('.*drive.avi'\)"):
        segmenter(path)
    results = [segmenter(frame) for frame in engine.VideoReader(str(path))]
    assert [result.labels.shape for result in results] == [(48, 64)] * 3
    assert len({result.labels.tobytes() for result in results}) == 3


def test_wrong_settings_are_one_line(config):
    for words, message in (
        ({'overrides': 'bn_eps=1'}, r"pass a list of texts, such as \['bn_eps=1'\]"),
        ({'overrides': ['nothing=1']}, 'nothing: unknown key'),
        ({'weights': Path('none.h5')}, 'none.h5: no such file of weights'),
        ({'backend': 'none'}, 'unknown backend'),
        ({'context': 'gpu'}, 'choose from auto, cpu, cudnn'),
        ({'backend': 'openvino', 'threads': 1.5}, 'must be at least 1, not 1.5'),
        ({'backend': 'openvino', 'threads': '2'}, "must be at least 1, not '2'"),
        ({'protocol': engine.Protocol()}, r'segmenter\(image, protocol\)'),
        ({'protocol': ProtocolSettings(scales=0.5)}, 'scales: 0.5 are no numbers above 0'),
    ):
        with pytest.raises(UserError, match=message):
            Segmenter(config, **words)
    with pytest.raises(UserError, match='none.yaml'):
        Segmenter('none.yaml')


@pytest.mark.parametrize('second', [IMAGE, 'b.jpg', 0.5, ProtocolSettings(scales=(0.5,))])
def test_a_second_argument_that_is_no_protocol_is_one_line(segmenter, second):
    with pytest.raises(UserError, match=r'is no engine.Protocol; .*segmenter\(\[first, second\]\)'):
        segmenter(IMAGE, second)
