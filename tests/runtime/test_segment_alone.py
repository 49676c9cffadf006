"""runtime/segment.py in an environment without NNabla and without the project."""

import cv2
import numpy as np
import pytest
from PIL import Image

from engine import Segmenter
from engine.inference.settings import ProtocolSettings
from support import export_runs, runtime_runs
from support.infer_runs import STREET

SIZE = 96, 128


@pytest.fixture(scope='module')
def packages(tmp_path_factory):
    return runtime_runs.packages_alone(tmp_path_factory.mktemp('alone') / 'packages')


@pytest.fixture(scope='module')
def demo_network(tmp_path_factory):
    """The demo's network for images of ``SIZE``, and its labels of the demo's photo in NNabla."""
    path = tmp_path_factory.mktemp('demo') / 'camvid.onnx'
    size = ('--size', 'x'.join(map(str, SIZE)))
    assert export_runs.started(*export_runs.CAMVID, '-o', path, *size, '--output', 'maps') == 0
    segmenter = Segmenter(
        export_runs.CAMVID[1],
        context='cpu',
        backend='nnabla',
        protocol=ProtocolSettings(size=SIZE),
    )
    return path, segmenter(STREET)


@pytest.mark.parametrize('runtime', ['onnxruntime', 'openvino'])
def test_the_demo_photo_gets_the_labels_of_nnabla(demo_network, packages, tmp_path, runtime):
    """The child asserts that it cannot import NNabla, the project, or openvino's telemetry."""
    network, expected = demo_network
    picture = tmp_path / 'new' / 'street.png'
    options = ('--save-labels', '--save-color', '--opacity', '0.7', '--runtime', runtime)
    process = runtime_runs.alone(packages, network, '-i', STREET, '-o', picture, *options)
    assert process.returncode == 0, process.stderr
    assert process.stderr == ''
    written, *shares = process.stdout.splitlines()
    assert written.startswith(f'{picture} written in ')
    assert [line.split() for line in shares] == [
        [f'{share:.1%}', name] for name, share in expected.shares.items()
    ]
    labels = cv2.imread(str(picture.with_name('street_labels.png')), cv2.IMREAD_UNCHANGED)
    assert labels.shape == expected.labels.shape
    assert np.mean(labels == expected.labels) > 0.9999
    assert len(np.unique(labels)) > 4
    same = labels == expected.labels
    assert np.array_equal(cv2.imread(str(picture))[same], expected.overlay(0.7)[same])
    with Image.open(picture.with_name('street_color.png')) as color:
        assert np.array_equal(np.asarray(color), labels)
        assert (
            color.getpalette()[: 3 * len(expected.palette)] == np.ravel(expected.palette).tolist()
        )
    assert sorted(path.name for path in picture.parent.iterdir()) == [
        'street.png', 'street_color.png', 'street_labels.png'
    ]  # fmt: skip
