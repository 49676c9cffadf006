"""NNP and NNB files: stored parameters, metadata and results when run again."""

import json
import ssl
import sys
import zipfile

import nnabla as nn
import nnabla.functions as F
import numpy as np
import pytest

from engine.export import nnb_reader, writers
from engine.export.exporter import export
from engine.export.spec import ExportSpec, build_graph
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
    image, output = build_graph(network, (45, 70), spec)
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


def test_an_nnb_file_is_read_back_and_run(tmp_path):
    """NNabla runs its functions with the stored arguments, shapes and parameters."""
    network, path = tiny(), tmp_path / 'a.nnb'
    report = export(network, (45, 70), path, ExportSpec(pixels='float32'))
    assert report.startswith("the file's content, run by NNabla")
    assert 'agrees' in report
    assert json.loads((tmp_path / 'a.nnb.json').read_text())['input'] == 'float32'
    contents = nnb_reader.read_nnb(path)
    assert [contents.shapes[n] for n in contents.inputs] == [(1, 3, 45, 70)]
    assert [contents.shapes[n] for n in contents.outputs] == [(1, 5, 45, 70)]
    own = nn.get_parameters(grad_only=False)
    stored = {a.tobytes() for a in contents.parameters.values()}
    assert stored == {v.d.tobytes() for v in own.values()}
    kinds = [call.kind for call in contents.calls]
    assert kinds.count('convolution') == sum(name.endswith('conv/W') for name in own)
    with pytest.raises(ValueError, match='bytes instead of'):
        path.write_bytes(path.read_bytes()[:-4])
        nnb_reader.read_nnb(path)


def test_a_graph_deeper_than_pythons_recursion_limit_becomes_nnb(tmp_path):
    """The converter's change of the process's HTTPS context is undone as well."""
    https = ssl._create_default_https_context
    x = y = nn.Variable((1, 3, 2, 2))
    for _ in range(1 + sys.getrecursionlimit()):
        y = F.relu(y)
    writers.write_nnb(tmp_path / 'a.nnb', x, y, NORMALISED, {})
    contents = nnb_reader.read_nnb(tmp_path / 'a.nnb')
    assert len(contents.calls) > sys.getrecursionlimit()
    assert np.array_equal(
        nnb_reader.run_nnb(contents, images(1, 2, 2)), np.maximum(images(1, 2, 2), 0)
    )
    assert ssl._create_default_https_context is https
