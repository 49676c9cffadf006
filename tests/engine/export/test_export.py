"""Whole networks as files: what they compute, what they say about themselves, what is refused."""

import json
import re
import ssl
import sys
import zipfile

import cv2
import nnabla as nn
import nnabla.functions as F
import numpy as np
import onnx
import onnxruntime
import openvino
import pytest

import models
from common import __version__
from common.errors import UserError
from datasets import image_files
from engine.export import checks, nnb_reader, writers
from engine.export.exporter import export
from engine.export.spec import ExportSpec, build_graph
from engine.inference.predictor import Predictor, normalise
from engine.onnx import operators
from layers import functions as L
from support import programs, stand_ins

STREET = programs.PROJECT / 'resources' / 'street.jpg'
NETWORKS = (
    'ddrnet23_slim',
    'dabnet_r18_p1',
    'dabnet_e',
    'csail_resnet18dilated8_c1_deepsup',
    'csail_resnet18dilated8_ppm',
    'csail_resnet18_upernet',
    'csail_resnet50_upernet_lite',
    'deeplabv3plus_mobilenetv2_tv_edgeailite',
    'unet_aspp_regnetx800mf_edgeailite',
    'fpn_aspp_regnetx400mf_edgeailite',
    'unet_aspp_mobilenetv2_tv_1p4_edgeailite',
    'fpn128_aspp_mobilenetv2_tv_fd_edgeailite',
)
COSTLY = (  # with these, every encoder and every decoder is there
    'ddrnet23',
    'ddrnet39',
    'csail_resnet101dilated16_c1',
    'unet_mobilenetv2_tv_edgeailite',
    'fpn_regnetx1p6gf_edgeailite',
    'fpn128_regnetx3p2gf_edgeailite',
)
NORMALISED = ExportSpec()


def sizes_of(network):
    """The smallest size, and one that is larger by as little as makes it oblong and, where it may
    be, odd.
    """
    step = network.info.size_divisor
    least = -(-network.info.smallest_size // step) * step
    return (least, least), ((least + 4, least + 1) if step == 1 else (least, least + step))


def prepared(name, **hyper):
    """A network with seeded parameters."""
    network = models.create(name, **hyper)
    with stand_ins.zero_parameters():
        network(nn.Variable((1, 3, *sizes_of(network)[0])))
    stand_ins.randomize_parameters()
    return network


def tiny():
    network = stand_ins.tiny()
    network(nn.Variable((1, 3, 64, 64)))
    stand_ins.randomize_parameters()
    return network


def logits_of(network, x):
    """What NNabla computes, one image after the other."""
    results = []
    for each in x:
        image = nn.Variable.from_numpy_array(each[None])
        y = L.resize(network(image)[0], each.shape[1:])
        y.forward(clear_buffer=True)
        results.append(y.d[0].copy())
    return np.stack(results)


def images(count, height, width):
    return np.random.RandomState(5).randn(count, 3, height, width).astype(np.float32)


def run(path, *batches):
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    results = [session.run(None, {'image': x})[0] for x in batches]
    return results if len(results) > 1 else results[0]


def assert_same(result, expected):
    assert result == pytest.approx(expected, abs=1e-4 * np.abs(expected).max())


def check_network(network, tmp_path):
    """At the smallest size for any number of images, at another for one."""
    smallest, larger = sizes_of(network)
    path = tmp_path / 'a.onnx'
    export(network, smallest, path, ExportSpec(batch=None), check=False)
    x = images(3, *smallest)
    expected = logits_of(network, x)
    one, three = run(path, x[:1], x)
    assert_same(one, expected[:1])
    assert_same(three, expected)
    export(network, larger, path, check=False)
    x = images(1, *larger)
    assert_same(run(path, x), logits_of(network, x))


@pytest.mark.parametrize('name', NETWORKS)
def test_a_network_computes_the_same(name, tmp_path):
    check_network(prepared(name), tmp_path)


@pytest.mark.parametrize('name', COSTLY)
def test_a_costly_network_computes_the_same_on_an_image_of_the_smallest_size(name, tmp_path):
    network, path = prepared(name), tmp_path / 'a.onnx'
    smallest, _ = sizes_of(network)
    export(network, smallest, path, check=False)
    x = images(1, *smallest)
    assert_same(run(path, x), logits_of(network, x))


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


def test_the_trained_model_on_the_street(tmp_path):
    """The bytes of the photo in, the predictor's labels out."""
    network = models.create('d3net_t', num_classes=11)
    predictor = Predictor(network)
    models.weights.load(programs.PROJECT / 'resources' / 'D3Net_T_camvid.h5')
    photo = cv2.resize(image_files.read_image(STREET), (200, 150), interpolation=cv2.INTER_AREA)
    path = tmp_path / 'a.onnx'
    report = export(network, (150, 200), path, ExportSpec('labels', 'uint8', None))
    assert 'agrees with NNabla on street.jpg' in report
    x = np.stack([photo, photo[:, ::-1]])[..., ::-1].transpose(0, 3, 1, 2)
    labels = run(path, np.ascontiguousarray(x))
    assert (labels.shape, labels.dtype) == ((2, 150, 200), np.uint8)
    for result, image in zip(labels, (photo, photo[:, ::-1])):
        expected = predictor.labels(np.ascontiguousarray(image))
        assert np.mean(result == expected) > 0.9999
    assert len(np.unique(labels)) > 4


@pytest.mark.parametrize('pixels', ['normalised', 'float32', 'uint8'])
@pytest.mark.parametrize('kind', ['logits', 'probabilities', 'labels', 'maps'])
def test_what_goes_in_and_what_comes_out(kind, pixels, tmp_path):
    """A network that sees BGR, with a deviation of its own for each channel."""
    network = prepared('fpn_aspp_regnetx400mf_bgr_edgeailite')
    size, path = (64, 32), tmp_path / 'a.onnx'
    export(network, size, path, ExportSpec(kind, pixels, 2), check=False)
    photos = [stand_ins.image(*size, seed=i) for i in range(2)]
    x = np.stack([normalise(photo, network.info) for photo in photos])
    expected = logits_of(network, x)
    if kind == 'probabilities':
        powers = np.exp(expected)
        expected = powers / powers.sum(axis=1, keepdims=True)
    elif kind == 'labels':
        expected = expected.argmax(axis=1)
    elif kind == 'maps':
        y = network(nn.Variable.from_numpy_array(x))[0]
        y.forward()
        expected = y.d
        assert expected.shape[2:] == (16, 8)
    if pixels != 'normalised':
        x = np.stack(photos).transpose(0, 3, 1, 2).astype(pixels)
    result = run(path, np.ascontiguousarray(x))
    assert result.dtype == (np.uint8 if kind == 'labels' else np.float32)
    assert_same(result, expected)


@pytest.mark.parametrize(
    'spec', [NORMALISED, ExportSpec('probabilities', 'float32', 2), ExportSpec('labels', 'float32')]
)
def test_nnp(spec, tmp_path):
    """It holds what the graph needs, with metadata, and NNabla's loader runs it."""
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


def test_nnb(tmp_path):
    """Functions with their arguments, shapes and parameters, read back and run by NNabla."""
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


def test_a_deep_graph_as_nnb(tmp_path):
    """Deeper than Python recurses; and the process opens HTTPS as it did before."""
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


def test_onnx_says_what_it_is(tmp_path):
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


def test_a_file_that_computes_something_else_is_kept_beside(tmp_path, monkeypatch):
    """Whatever was there before stays."""
    path = tmp_path / 'a.onnx'
    path.write_text('before')
    monkeypatch.setitem(operators.DIRECT_OPERATORS, 'ReLU', 'Abs')
    with pytest.raises(UserError, match='not written, onnxruntime .* differs from NNabla'):
        export(tiny(), (45, 70), path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ['a.onnx', 'a.onnx.mismatch']
    assert path.read_text() == 'before'
    onnx.checker.check_model(onnx.load(tmp_path / 'a.onnx.mismatch', 'protobuf'))


def damaged(path):
    path.write_bytes(path.read_bytes()[:-100])


def with_four_channels(path):
    """What it says of its input is not what comes."""
    model = onnx.load(path, 'protobuf')
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4
    onnx.save(model, path)


def beyond_the_address_space(path):
    node, constant = onnx.helper.make_node, onnx.numpy_helper.from_array
    size = constant(np.array([1, 5, 1 << 22, 1 << 22]), 'size')
    nodes = [
        node('ReduceMax', ['image'], ['largest'], keepdims=1),
        node('Expand', ['largest', 'size'], ['logits']),
    ]
    infos = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * 4)
        for name in ('image', 'logits')
    ]
    graph = onnx.helper.make_graph(nodes, 'large', infos[:1], infos[1:], [size])
    opset = onnx.helper.make_opsetid('', 13)
    onnx.save(onnx.helper.make_model(graph, ir_version=8, opset_imports=[opset]), path)


@pytest.mark.parametrize(
    'change, line, left',
    [
        (
            damaged,
            'a.onnx: not written, onnxruntime does not support this network .*; it is kept',
            1,
        ),
        (
            with_four_channels,
            'a.onnx: not written, onnxruntime failed at 45x70 .*; it is kept',
            1,
        ),
        (beyond_the_address_space, 'not enough memory to run .* smaller --size', 0),
    ],
)
def test_what_onnxruntime_cannot_run_is_one_line(tmp_path, monkeypatch, change, line, left):
    write = writers.WRITERS['.onnx']

    def changed(path, *arguments):
        write(path, *arguments)
        change(path)

    monkeypatch.setitem(writers.WRITERS, '.onnx', changed)
    with pytest.raises(UserError, match=line) as error:
        export(tiny(), (45, 70), tmp_path / 'a.onnx')
    assert '\n' not in str(error.value)
    assert '--backend' not in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == ['a.onnx.mismatch'] * left


@pytest.mark.parametrize('kind', ['logits', 'probabilities', 'labels'])
def test_a_comparison_sees_what_is_wrong(kind):
    """Channels the other way round, images mixed up, not a number."""
    network, size, spec = tiny(), (45, 70), ExportSpec(kind)

    def right(x):
        y = logits_of(network, x)
        powers = np.exp(y)
        return {
            'logits': y,
            'probabilities': powers / powers.sum(axis=1, keepdims=True),
            'labels': y.argmax(axis=1),
        }[kind]

    def compare(run):
        return checks.compare_with_network(run, 'x', network, size, spec, (1, 3))

    assert compare(right).matches
    assert float(re.search(r'([\d.]+)% of labels equal', str(compare(right))).group(1)) > 99.9
    assert not compare(lambda x: right(x[:, ::-1])).matches
    assert not compare(lambda x: right(x[::-1])).matches
    assert not compare(lambda x: right(x)[:1]).matches
    if kind != 'labels':
        assert not compare(lambda x: right(x) * np.float32('nan')).matches


@pytest.mark.parametrize('ending', ['onnx', 'nnp', 'nnb'])
def test_a_full_disk_leaves_what_was_there(ending, tmp_path):
    path = tmp_path / f'a.{ending}'
    path.write_text('before')
    network = tiny()
    with programs.full_disk(3000), pytest.raises(UserError, match='cannot be written'):
        export(network, (45, 70), path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == 'before'


def test_without_onnxruntime_the_file_is_checked_for_being_valid(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    report = export(tiny(), (45, 70), tmp_path / 'a.onnx')
    assert report.startswith('valid, but not run')
    assert 'pip install -r requirements.txt' in report


def test_without_onnx_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnx', None)
    with pytest.raises(UserError, match='package onnx is not installed: .* -r requirements.txt'):
        export(tiny(), (45, 70), tmp_path / 'a.onnx')


def test_too_little_memory_is_one_line(tmp_path, monkeypatch):
    def starve(*arguments):
        raise MemoryError

    monkeypatch.setattr(checks, 'check', starve)
    with pytest.raises(UserError, match='not enough memory to run d3net on 45x70'):
        export(tiny(), (45, 70), tmp_path / 'a.onnx')
    assert not list(tmp_path.iterdir())


def test_openvino_computes_the_same(tmp_path):
    network, path = prepared('csail_resnet18dilated8_ppm', num_classes=5), tmp_path / 'a.onnx'
    export(network, (19, 26), path, ExportSpec(batch=None), check=False)
    model = openvino.Core().compile_model(path, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    x = images(3, 19, 26)
    assert_same(model(x)[0], logits_of(network, x))
