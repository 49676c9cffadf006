"""Exported ONNX files of every family compute the same as NNabla."""

import cv2
import nnabla as nn
import numpy as np
import pytest

import models
from common import silent_imports
from datasets import image_files
from engine.export.exporter import export
from engine.export.spec import ExportSpec
from engine.inference.predictor import Predictor
from support import programs
from support.exported import (
    assert_same,
    images,
    logits_of,
    prepared,
    prepared_narrow,
    run_onnx,
    sizes_of,
    tiny,
)

STREET = programs.PROJECT / 'resources' / 'street.jpg'
NETWORKS = (  # every decoder, and every kind of encoder
    'ddrnet23_slim',
    'ddrnet39',
    'dabnet_r18_p1',
    'dabnet_e',
    'csail_resnet18dilated8_c1_deepsup',
    'csail_resnet18dilated8_ppm',
    'csail_resnet50_upernet_lite',
    'deeplabv3plus_mobilenetv2_tv_edgeailite',
    'unet_aspp_regnetx800mf_edgeailite',
    'unet_mobilenetv2_tv_edgeailite',
    'fpn_aspp_regnetx400mf_edgeailite',
    'fpn128_aspp_mobilenetv2_tv_fd_edgeailite',
)
OTHER_SIZES = (  # encoders of other widths and depths
    'ddrnet23',
    'csail_resnet18_upernet',
    'csail_resnet101dilated16_c1',
    'unet_aspp_mobilenetv2_tv_1p4_edgeailite',
    'fpn_regnetx1p6gf_edgeailite',
    'fpn128_regnetx3p2gf_edgeailite',
)


FREE_SIZES = (  # resizes, a pyramid of tiles, and reshapes that follow the size
    'ddrnet23_slim',
    'csail_resnet18dilated8_ppm',
    'deeplabv3plus_mobilenetv2_tv_edgeailite',
)


def check_free_size(network, path):
    """Compare a file of a free size at the smallest size, and at two others."""
    smallest, larger = sizes_of(network)
    export(network, smallest, path, ExportSpec(batch=None, free_size=True), check=False)
    step = network.info.size_divisor
    for size in (smallest, larger, (smallest[0] + 4 * step, smallest[1] + 7 * step)):
        x = images(2, *size)
        assert_same(run_onnx(path, x), logits_of(network, x))


def check_network(network, tmp_path):
    """Compare at the smallest size with a dynamic batch, and at a larger size with one image."""
    smallest, larger = sizes_of(network)
    path = tmp_path / 'a.onnx'
    export(network, smallest, path, ExportSpec(batch=None), check=False)
    x = images(3, *smallest)
    expected = logits_of(network, x)
    one, three = run_onnx(path, x[:1], x)
    assert_same(one, expected[:1])
    assert_same(three, expected)
    export(network, larger, path, check=False)
    x = images(1, *larger)
    assert_same(run_onnx(path, x), logits_of(network, x))


@pytest.mark.usefixtures('narrow_pyramids')
@pytest.mark.parametrize('name', NETWORKS)
def test_a_narrow_network_computes_the_same(name, tmp_path):
    check_network(prepared_narrow(name), tmp_path)


@pytest.mark.usefixtures('narrow_pyramids')
@pytest.mark.parametrize('name', FREE_SIZES)
def test_a_narrow_network_of_a_free_size_computes_the_same(name, tmp_path):
    check_free_size(prepared_narrow(name), tmp_path / 'a.onnx')


@pytest.mark.whole_registry
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures('narrow_pyramids')
def test_every_network_of_a_free_size_computes_the_same(tmp_path):
    for name in models.names():
        if name != 'd3net':
            nn.clear_parameters()
            check_free_size(prepared_narrow(name), tmp_path / 'a.onnx')


@pytest.mark.whole_registry
@pytest.mark.parametrize('name', NETWORKS + OTHER_SIZES)
def test_a_network_of_full_width_computes_the_same(name, tmp_path):
    check_network(prepared(name), tmp_path)


def test_a_tiny_d3net_computes_the_same_at_odd_sizes(tmp_path):
    check_network(tiny(), tmp_path)


@pytest.mark.whole_registry
@pytest.mark.timeout(3600)
def test_every_network_computes_the_same(tmp_path):
    for name in models.names():
        if name == 'd3net':
            continue
        nn.clear_parameters()
        network = prepared(name)
        report = export(network, sizes_of(network)[1], tmp_path / 'a.onnx', ExportSpec(batch=None))
        assert 'agrees' in report, name


def test_the_exported_trained_model_predicts_the_labels_of_the_predictor(tmp_path):
    """The file's input are the bytes of the photo."""
    network = models.create('d3net_t', num_classes=11)
    predictor = Predictor(network)
    models.weights.load(programs.PROJECT / 'resources' / 'D3Net_T_camvid.h5')
    photo = cv2.resize(image_files.read_image(STREET), (120, 90), interpolation=cv2.INTER_AREA)
    path = tmp_path / 'a.onnx'
    report = export(network, (90, 120), path, ExportSpec('labels', 'uint8', None))
    assert 'agrees with NNabla on street.jpg' in report
    x = np.stack([photo, photo[:, ::-1]])[..., ::-1].transpose(0, 3, 1, 2)
    labels = run_onnx(path, np.ascontiguousarray(x))
    assert (labels.shape, labels.dtype) == ((2, 90, 120), np.uint8)
    for result, image in zip(labels, (photo, photo[:, ::-1])):
        expected = predictor.labels(np.ascontiguousarray(image))
        assert np.mean(result == expected) > 0.9999
    assert len(np.unique(labels)) > 4


@pytest.mark.usefixtures('narrow_pyramids')
def test_openvino_computes_the_same(tmp_path):
    network, path = prepared_narrow('csail_resnet18dilated8_ppm'), tmp_path / 'a.onnx'
    export(network, (19, 26), path, ExportSpec(batch=None), check=False)
    core = silent_imports.load('openvino').Core()
    model = core.compile_model(path, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    x = images(3, 19, 26)
    assert_same(model(x)[0], logits_of(network, x))
