"""Inputs and outputs of exported networks."""

import nnabla as nn
import numpy as np
import pytest

import models
from engine.export.exporter import export
from engine.export.spec import ExportSpec, output_names
from engine.inference.predictor import normalise
from support import stand_ins
from support.exported import assert_same, logits_of, prepared, run_onnx


@pytest.mark.parametrize('kind', ['logits', 'probabilities', 'labels', 'maps'])
def test_every_kind_of_input_gives_the_requested_output(kind, tmp_path):
    """The network's input is BGR, with a deviation of its own for each channel."""
    network = prepared('fpn_aspp_regnetx400mf_bgr_edgeailite')
    size, path = (64, 32), tmp_path / 'a.onnx'
    photos = [stand_ins.image(*size, seed=i) for i in range(2)]
    normalised = np.stack([normalise(photo, network.info) for photo in photos])
    expected = logits_of(network, normalised)
    if kind == 'probabilities':
        powers = np.exp(expected)
        expected = powers / powers.sum(axis=1, keepdims=True)
    elif kind == 'labels':
        expected = expected.argmax(axis=1)
    elif kind == 'maps':
        y = network(nn.Variable.from_numpy_array(normalised))[0]
        y.forward()
        expected = y.d
        assert expected.shape[2:] == (16, 8)
    for pixels in ('normalised', 'float32', 'uint8'):
        x = normalised
        if pixels != 'normalised':
            x = np.stack(photos).transpose(0, 3, 1, 2).astype(pixels)
        export(network, size, path, ExportSpec(kind, pixels, 2), check=False)
        result = run_onnx(path, np.ascontiguousarray(x))
        assert result.dtype == (np.uint8 if kind == 'labels' else np.float32)
        assert_same(result, expected)


@pytest.mark.parametrize(
    ('tasks', 'names'),
    [
        (['image', 'motion'], ['image_output', 'motion']),
        (['image', 'image_output'], ['image_output_output', 'image_output']),
        (['segmentation'], ['logits']),
    ],
)
def test_every_output_has_a_name_of_its_own(tasks, names):
    network = models.create(
        'deeplabv3plus_mobilenetv2_tv_edgeailite', tasks=tasks, task_channels=[2] * len(tasks)
    )
    assert output_names(network.info, ExportSpec()) == names
