"""Class maps of one graph equal those of the predictor, which normalises and resizes on the host.

The graphs run on the CPU here.
"""

import nnabla as nn
import numpy as np
import pytest

import models
from common import PROJECT
from datasets import image_files
from engine import config as configs
from engine.backends.base import MIN_CACHED_SHAPES
from engine.inference import on_device
from engine.inference.predictor import Predictor, normalise
from engine.inference.test_time import Protocol
from engine.training import gpu_check
from layers.graph import functions
from support import stand_ins
from support.broken_on_hopper import broken_on_hopper

STREET = image_files.read_image(PROJECT / 'resources' / 'street.jpg')


def both(network, image):
    """Return the labels of the host and of the graph."""
    predictor = Predictor(network)
    stand_ins.randomize_parameters()
    expected = predictor.labels(image)
    predictor.stay_on_device()
    return expected, predictor.on_device.labels(image)


@pytest.mark.parametrize('size', [(64, 96), (33, 57), (5, 5), (1, 80)])
def test_labels_of_any_size_equal_those_of_the_host(size):
    expected, found = both(stand_ins.tiny(), stand_ins.image(*size))
    assert (found.shape, found.dtype) == (size, np.uint8)
    assert np.array_equal(found, expected)
    assert len(np.unique(expected)) > 1 or min(size) < 10


@pytest.mark.parametrize(
    'name', ['dabnet_r18_p2', 'ddrnet23_slim', 'fpn_aspp_regnetx400mf_bgr_edgeailite']
)
def test_networks_with_padding_and_bgr_input(name):
    """Padding is zero after normalisation, and removed after upsampling."""
    expected, found = both(models.create(name), np.ascontiguousarray(STREET[:130:2, :150:2]))
    assert found.shape == (65, 75)
    assert np.array_equal(found, expected)
    assert len(np.unique(expected)) > 1


def test_the_trained_model_has_the_same_labels_in_repeated_runs():
    config = configs.load('configs/D3Net_T_camvid.yaml', [])
    predictor = Predictor(models.create(config))
    models.weights.load(models.weights.find(config['weights']))
    image = np.ascontiguousarray(STREET[:300:3, :420:3])
    expected = predictor.labels(image)
    predictor.stay_on_device()
    for _ in range(2):  # buffers of one pass do not change the next
        assert np.array_equal(predictor.labels(image), expected)
    assert predictor.backend.used == {'nnabla'}
    assert len(np.unique(expected)) > 3


def test_normalisation_has_the_same_bits():
    """The graph divides, the host uses a table; all 256 values are compared."""
    for name in ('d3net_s', 'deeplabv3plus_mobilenetv2_tv_edgeailite'):
        info = models.create(name).info
        table = whole_normalised(info)
        values = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
        assert np.array_equal(table, normalise(values, info))


def whole_normalised(info):
    values = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    x = nn.Variable(values.shape)
    x.d = values
    y = on_device.normalised(x, info)
    y.forward()
    return y.d[0]


def test_ties_between_logits_go_to_the_first_class():
    network = stand_ins.tiny()
    predictor = Predictor(network)
    for parameter in nn.get_parameters().values():
        parameter.d = 0
    predictor.stay_on_device()
    assert not predictor.labels(stand_ins.image(70, 60)).any()


def test_all_added_functions_work_on_hopper():
    """The functions around the network; tests of the layers cover the network's own."""
    graph = on_device.OnDevicePredictor(models.create('ddrnet23_slim'), lambda n: -(-n // 8) * 8)
    y = graph._build(nn.Variable((1, 70, 90, 3)))
    specs = [gpu_check.spec_of(function, trained=False) for function in functions(y)]
    assert {spec.type for spec in specs} >= {'Transpose', 'Pad', 'Div2', 'Interpolate', 'Max'}
    for spec in specs:
        if spec.type != 'DepthwiseConvolution':
            assert broken_on_hopper(spec) is None, spec


def test_other_views_and_large_images_are_resized_on_the_host(monkeypatch):
    predictor, image = Predictor(stand_ins.tiny()), stand_ins.image(80, 60)
    stand_ins.randomize_parameters()
    expected = {p: predictor.labels(image, p) for p in (Protocol(), Protocol(flip=True))}
    predictor.stay_on_device()
    monkeypatch.setattr(on_device, 'MAX_LOGITS_BYTES', 4 * 5 * 80 * 60 - 1)
    monkeypatch.setattr(on_device.OnDevicePredictor, 'labels', None)
    for protocol, labels in expected.items():
        assert np.array_equal(predictor.labels(image, protocol), labels)
    assert predictor.labels(stand_ins.image(63, 64)).shape == (63, 64)  # fewer than MIN_PIXELS
    monkeypatch.setattr(on_device, 'MAX_LOGITS_BYTES', 4 * 5 * 80 * 60)
    with pytest.raises(TypeError):
        predictor.labels(image)
    assert np.array_equal(predictor.labels(image, Protocol(flip=True)), expected[protocol])


def test_sizes_that_lack_memory_are_remembered(monkeypatch):
    released, tried = [], []
    predictor = Predictor(stand_ins.tiny(), lambda: released.append(1))
    stand_ins.randomize_parameters()
    image = stand_ins.image(80, 60)
    expected = predictor.labels(image)
    predictor.stay_on_device()

    def run_out_of_memory(self, size):
        tried.append(size)
        raise RuntimeError('Failed to allocate')

    monkeypatch.setattr(on_device.OnDevicePredictor, '_graph', run_out_of_memory)
    for _ in range(2):
        assert np.array_equal(predictor.labels(image), expected)
    assert tried == [(80, 60)]
    predictor.labels(stand_ins.image(81, 60))
    assert len(tried) == 2

    def break_down(self, size):
        raise RuntimeError('an illegal instruction was encountered')

    monkeypatch.setattr(on_device.OnDevicePredictor, '_graph', break_down)
    with pytest.raises(RuntimeError, match='illegal instruction'):
        predictor.labels(stand_ins.image(82, 60))


def test_graphs_of_the_most_recent_sizes_are_cached():
    built = []
    predictor = Predictor(stand_ins.tiny(), lambda: built.append(1))
    stand_ins.randomize_parameters()
    predictor.stay_on_device()
    sizes = [(70 + i, 60) for i in range(MIN_CACHED_SHAPES + 1)]
    for size in [*sizes, *sizes[1:]]:
        predictor.labels(stand_ins.image(*size))
    assert len(built) == MIN_CACHED_SHAPES + 1
    predictor.labels(stand_ins.image(*sizes[0]))
    assert len(built) == MIN_CACHED_SHAPES + 2
