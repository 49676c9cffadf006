"""The written files: parameters of NNP, depth of NNB, metadata of ONNX."""

import json
import ssl
import sys
import zipfile

import nnabla as nn
import nnabla.functions as F
import numpy as np
import onnx
import pytest

from common import __version__
from engine.export import nnb_reader, writers
from engine.export.exporter import export
from engine.export.spec import ExportGraph, ExportSpec, build_graph
from support.exported import images, prepared, tiny

NORMALISED = ExportSpec()


@pytest.mark.parametrize(
    'spec', [NORMALISED, ExportSpec('probabilities', 'float32', 2), ExportSpec('labels', 'float32')]
)
def test_nnablas_loader_runs_an_nnp_file(spec, tmp_path):
    """The archive contains the graph's parameters and the metadata."""
    from nnabla.utils.nnp_graph import NnpLoader

    network, path = tiny(), tmp_path / 'a.nnp'
    assert 'agrees' in export(network, (45, 70), path, spec, metadata={'classes': ['a', 'ü']})
    with zipfile.ZipFile(path) as archive:
        facts = json.loads(archive.read('metadata.json'))
    assert facts['classes'] == ['a', 'ü']
    assert facts['size'] == [45, 70]
    loaded = NnpLoader(str(path)).get_network('network', batch_size=spec.batch)
    graph = build_graph(network, (45, 70), spec)
    image, output = graph.image, graph.outputs[spec.kind]
    image.d = loaded.inputs['image'].d = images(spec.batch, 45, 70)
    output.forward()
    nn.clear_parameters()
    loaded.outputs[spec.kind].forward()
    assert np.array_equal(loaded.outputs[spec.kind].d, output.d)


def test_nnp_has_no_parameters_of_auxiliary_heads(tmp_path):
    network = prepared('csail_resnet18dilated8_c1_deepsup', num_classes=5)
    export(network, (9, 9), tmp_path / 'a.nnp', check=False)
    nn.load_parameters(str(tmp_path / 'a.nnp'))
    with nn.parameter_scope('', scope={}):
        nn.load_parameters(str(tmp_path / 'a.nnp'))
        names = nn.get_parameters(grad_only=False)
    assert 'decoder/conv_last/conv/W' in names
    assert not [name for name in names if 'deepsup' in name]


def test_a_graph_deeper_than_pythons_recursion_limit_becomes_nnb(tmp_path):
    """The converter's change of the process's HTTPS context is undone as well."""
    https = ssl._create_default_https_context
    x = y = nn.Variable((1, 3, 2, 2))
    for _ in range(1 + sys.getrecursionlimit()):
        y = F.relu(y)
    writers.write_nnb(tmp_path / 'a.nnb', ExportGraph(x, {'y': y}), NORMALISED, {}, None)
    contents = nnb_reader.read_nnb(tmp_path / 'a.nnb')
    assert len(contents.calls) > sys.getrecursionlimit()
    assert np.array_equal(
        nnb_reader.run_nnb(contents, images(1, 2, 2)), np.maximum(images(1, 2, 2), 0)
    )
    assert ssl._create_default_https_context is https


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
