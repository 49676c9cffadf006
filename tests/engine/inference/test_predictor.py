"""The predictor: normalisation, sizes, memory, bands of rows, lack of memory."""

import os

import cv2
import nnabla as nn
import numpy as np
import pytest

import models
from common.errors import InputError, UserError
from datasets.loading import transforms
from engine.backends.nnabla import NnablaBackend
from engine.inference import predictor, scores
from engine.inference.test_time import Protocol
from support import programs, stand_ins
from support.memory_over_sizes import resident_mib


def test_normalisation_is_the_published_one():
    """(x - mean) / std of RGB, with mean and std rounded to float32; computed here in float64."""
    info = models.create('d3net_s').info
    image = stand_ins.image(7, 9)
    x = predictor.normalise(image, info)
    assert (x.shape, x.dtype) == ((3, 7, 9), np.float32)
    mean, std = (np.float64(np.float32(v)).reshape(3, 1, 1) for v in (info.mean, info.std))
    expected = (image[..., ::-1].transpose(2, 0, 1) - mean) * (1 / std)
    np.testing.assert_allclose(x, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('height, width', [(64, 64), (33, 57), (5, 5), (1, 1), (1, 80), (3, 1)])
def test_labels_have_the_size_of_the_image(tiny, height, width):
    image = stand_ins.image(height, width)
    labels = tiny.labels(image)
    assert (labels.shape, labels.dtype) == ((height, width), np.uint8)
    logits = tiny.logits(image)
    assert logits.shape == (5, height, width)
    assert np.array_equal(labels, logits.argmax(0))


def test_the_last_of_255_classes_can_be_predicted():
    made = predictor.Predictor(stand_ins.tiny(num_classes=255))
    stand_ins.randomize_parameters()
    bias = nn.get_parameters()['decode_head/conv_seg/conv/b']
    bias.d = np.where(np.arange(255) == 254, 1e3, 0).astype(np.float32)
    for protocol in (Protocol(), Protocol(flip=True)):
        assert np.array_equal(np.unique(made.labels(stand_ins.image(9, 8), protocol)), [254])


def test_logits_equal_those_of_the_graph_resized_by_opencv(tiny):
    image = stand_ins.image(33, 57)
    x = predictor.normalise(image, tiny.network.info)[None]
    lowres = tiny.network(nn.Variable.from_numpy_array(x))[0]
    lowres.forward()
    expected = cv2.resize(lowres.d[0].transpose(1, 2, 0), (57, 33)).transpose(2, 0, 1)
    np.testing.assert_allclose(tiny.logits(image), expected, atol=1e-4)


@pytest.mark.parametrize('scale', [0.5, 0.37, 1.7, 16])
def test_labels_of_scaled_views_have_the_size_of_the_image(tiny, scale):
    image, protocol = stand_ins.image(90, 121), Protocol(scales=(scale,))
    labels = tiny.labels(image, protocol)
    assert labels.shape == (90, 121)
    assert (labels == tiny.labels(image)).mean() > 0.2
    assert tiny.labels(stand_ins.image(1, 2), protocol).shape == (1, 2)


def test_memory_stays_flat_over_mixed_sizes():
    """NNabla's cached memory is released before a graph of a new size is built."""
    paths = os.pathsep.join(map(str, (programs.PROJECT, programs.PROJECT / 'tests')))
    process = programs.run('tests/support/memory_over_sizes.py', PYTHONPATH=paths)
    assert process.returncode == 0, process.stderr
    assert float(process.stdout) < 20  # measured: -3, and 36 if nothing is released


def test_lack_of_memory_names_the_remedy(tiny, monkeypatch):
    def no_memory(*args):
        raise RuntimeError('memory error in malloc\nFailed to allocate 10 GB')

    monkeypatch.setattr(tiny, 'backend', NnablaBackend(no_memory))
    with pytest.raises(UserError, match='not enough memory for a view of 48x40 .* smaller network'):
        tiny.labels(stand_ins.image(40, 48))
    with pytest.raises(UserError, match='a view of 480x400 pixels; halving --scales'):
        tiny.labels(stand_ins.image(400, 480))
    with pytest.raises(UserError, match='a view of 480x400 pixels; smaller windows'):
        tiny.labels(stand_ins.image(200, 240), Protocol(scales=(2.0,), window=(32, 32)))


def test_lack_of_memory_during_normalisation_names_the_view(tiny, monkeypatch):
    def no_memory(*args):
        raise MemoryError

    monkeypatch.setattr(transforms, 'normalise', no_memory)
    with pytest.raises(InputError, match='a view of 480x400 pixels; halving --scales'):
        tiny.labels(stand_ins.image(40, 48), Protocol(scales=(10.0,)))


def test_lack_of_memory_during_resizing_names_the_image(tiny, monkeypatch):
    def no_memory(*args):
        raise MemoryError

    monkeypatch.setattr(scores, 'resize_rows', no_memory)
    with pytest.raises(InputError, match='not enough memory for an image of 48x40 pixels'):
        tiny.labels(stand_ins.image(40, 48))


PROTOCOLS = [
    Protocol(),
    Protocol(scales=(0.37,)),
    Protocol(scales=(1.7,)),
    Protocol(flip=True),
    Protocol(scales=(0.5, 1.25), flip=True),
    Protocol(size=(50, 70)),
    Protocol(short_sides=(30, 50), flip=True),
    Protocol(window=(48, 32), scales=(1.5,), flip=True),
]


@pytest.mark.parametrize('protocol', PROTOCOLS, ids=lambda p: str(p.describe()))
@pytest.mark.parametrize('size', [(64, 96), (61, 83), (1, 40)])
def test_bands_of_rows_change_no_label(tiny, monkeypatch, protocol, size):
    image = stand_ins.image(*size)
    expected = tiny.probabilities(image, protocol).argmax(axis=0)
    assert np.array_equal(tiny.labels(image, protocol), expected)
    monkeypatch.setattr(scores, 'BAND_VALUES', 1000)  # bands of a few rows
    assert np.array_equal(tiny.labels(image, protocol), expected)


def peak_mib():
    with open('/proc/self/status') as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith('VmHWM'))


@pytest.mark.parametrize('flip', [False, True])
def test_scaling_down_bounds_the_memory(tiny, flip):
    """Scores of 9 megapixels in 5 classes are 172 MiB; their labels are 9."""
    image, protocol = np.full((3000, 3000, 3), 99, np.uint8), Protocol(scales=(0.02,), flip=flip)
    tiny.labels(image[:300, :300], protocol)
    before = resident_mib()
    with open('/proc/self/clear_refs', 'w') as file:
        file.write('5')  # resets the peak
    assert tiny.labels(image, protocol).shape == (3000, 3000)
    assert peak_mib() - before < 60
