"""Failed exports: wrong results, damaged files, a full disk, missing packages, lack of memory."""

import sys

import numpy as np
import onnx
import pytest

from common.errors import UserError
from engine.export import checks, writers
from engine.export.exporter import export
from engine.onnx import operators
from support import programs
from support.exported import tiny


def test_a_file_with_wrong_results_is_kept_as_mismatch(tmp_path, monkeypatch):
    """The earlier file stays unchanged."""
    path = tmp_path / 'a.onnx'
    path.write_text('before')
    monkeypatch.setitem(operators.DIRECT_OPERATORS, 'ReLU', 'Sigmoid')
    with pytest.raises(UserError, match='not written, onnxruntime .* differs from NNabla'):
        export(tiny(), (45, 70), path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ['a.onnx', 'a.onnx.mismatch']
    assert path.read_text() == 'before'
    onnx.checker.check_model(onnx.load(tmp_path / 'a.onnx.mismatch', 'protobuf'))


def damaged(path):
    path.write_bytes(path.read_bytes()[:-100])


def with_four_channels(path):
    """Declare another input than the network's."""
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
def test_a_file_that_onnxruntime_cannot_run_is_a_one_line_error(
    tmp_path, monkeypatch, change, line, left
):
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


@pytest.mark.parametrize('ending', ['onnx', 'nnp', 'nnb'])
def test_a_full_disk_keeps_the_earlier_file(ending, tmp_path):
    path = tmp_path / f'a.{ending}'
    path.write_text('before')
    network = tiny()
    with programs.full_disk(3000), pytest.raises(UserError, match='cannot be written'):
        export(network, (45, 70), path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == 'before'


def test_without_onnxruntime_the_file_is_valid_but_not_run(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    report = export(tiny(), (45, 70), tmp_path / 'a.onnx')
    assert report.startswith('valid, but not run')
    assert 'pip install -r requirements.txt' in report


def test_without_onnx_the_error_names_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnx', None)
    with pytest.raises(UserError, match='package onnx is not installed: .* -r requirements.txt'):
        export(tiny(), (45, 70), tmp_path / 'a.onnx')


def test_lack_of_memory_is_a_one_line_error(tmp_path, monkeypatch):
    def starve(*arguments):
        raise MemoryError

    monkeypatch.setattr(checks, 'check_file', starve)
    with pytest.raises(UserError, match='not enough memory to run d3net on 45x70'):
        export(tiny(), (45, 70), tmp_path / 'a.onnx')
    assert not list(tmp_path.iterdir())
