"""Inputs and outputs of exported networks, and the metadata of ONNX files."""

import json

import nnabla as nn
import numpy as np
import onnx
import pytest

from common import __version__
from engine.export.exporter import export
from engine.export.spec import ExportSpec
from engine.inference.predictor import normalise
from support import stand_ins
from support.exported import assert_same, logits_of, prepared, run_onnx, tiny


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


def test_metadata_of_onnx_describes_network_and_runtime(tmp_path):
    path = tmp_path / 'a.onnx'
    export(
        tiny(),
        (45, 70),
        path,
        ExportSpec('labels', 'uint8', None),
        metadata={'classes': ['x', 'y']},
    )
    model = onnx.load(path)
    facts = {p.key: p.value for p in model.metadata_props}
    assert facts['network'] == 'd3net'
    assert json.loads(facts['classes']) == ['x', 'y']
    assert json.loads(facts['mean']) == [123.675, 116.28, 103.53]
    assert json.loads(facts['std']) == [58.395, 57.12, 57.375]
    assert json.loads(facts['size']) == [45, 70]
    assert (facts['channel_order'], facts['batch']) == ('rgb', 'any')
    assert (facts['output'], facts['input']) == ('labels', 'uint8')
    assert json.loads(facts['versions']) == {
        'nnseg': __version__,
        'nnabla': nn.__version__,
        'onnx': onnx.__version__,
    }
    (image,), (labels,) = model.graph.input, model.graph.output
    dims = [d.dim_param or d.dim_value for d in image.type.tensor_type.shape.dim]
    assert (image.name, dims) == ('image', ['batch', 3, 45, 70])
    dims = [d.dim_param or d.dim_value for d in labels.type.tensor_type.shape.dim]
    assert (labels.name, dims) == ('labels', ['batch', 45, 70])
