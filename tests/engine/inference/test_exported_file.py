"""Reading files of engine.export: damaged, changed, hostile or foreign ones are one line."""

import re

import onnx
import pytest

from common.errors import UserError
from engine.inference import exported_file
from support.exported_files import resealed, written


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """An ONNX file and OpenVINO's files of a tiny network."""
    folder = tmp_path_factory.mktemp('files')
    for name in ('a.onnx', 'a.xml'):
        written(folder, name, '--size', '32x40')
    return folder


@pytest.fixture
def copies(files, tmp_path):
    for path in files.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def refused(path, line):
    with pytest.raises(UserError) as error:
        exported_file.read(path)
    assert re.search(line, str(error.value)), error.value
    assert '\n' not in str(error.value)
    assert str(path) in str(error.value)


def change_model(path, change):
    model = onnx.load(path, load_external_data=False)
    change(model)
    path.write_bytes(resealed(model.SerializeToString()))


def with_fact(key, value):
    def change(model):
        (entry,) = [each for each in model.metadata_props if each.key == key]
        entry.value = value

    return change


@pytest.mark.parametrize('name', ['a.onnx', 'a.xml'])
def test_facts_and_content_of_a_whole_file(name, files):
    file = exported_file.read(files / name)
    assert (file.size, file.batch, file.info.num_classes) == ((32, 40), 1, 11)
    assert file.facts['classes'][0] == 'sky'
    assert file.is_onnx == (name == 'a.onnx')
    assert (file.weights is None) == file.is_onnx


@pytest.mark.parametrize('name', ['a.onnx', 'a.xml', 'a.bin'])
def test_a_changed_byte_is_damage(name, copies):
    content = bytearray((copies / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copies / name).write_bytes(content)
    path = copies / name.replace('.bin', '.xml')
    refused(path, r'is damaged.*export (it|both) again')


def test_weights_of_openvino_that_are_missing(copies):
    (copies / 'a.bin').unlink()
    refused(copies / 'a.xml', r'its weights are missing; put a\.bin beside it')


@pytest.mark.parametrize('content', [b'', b'\x08\x08', b'<net/>', b'\xff' * 100])
@pytest.mark.parametrize('name', ['a.onnx', 'a.xml'])
def test_a_file_of_another_program(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, rf'did not write it.*-o FILE\.{name[2:]}')


def test_a_file_that_is_cut_off(copies):
    path = copies / 'a.onnx'
    path.write_bytes(path.read_bytes()[:5000])
    refused(path, 'or it is cut off.*copy it again')


@pytest.mark.parametrize('name', ['a.onnx', 'a.xml'])
def test_a_file_that_is_not_there(name, tmp_path):
    with pytest.raises(UserError, match=rf'{name}: no such file; .* -o FILE\{name[1:]} writes one'):
        exported_file.find(str(tmp_path / name))


@pytest.mark.parametrize(
    'key, value',
    [
        ('classes', '["a"]'),
        ('classes', '[' * 100_000),
        ('palette', '[[0, 0, 256]]'),
        ('size', '[0, 40]'),
        ('size', '[32.5, 40]'),
        ('std', '[1, 1, 0]'),
        ('mean', '[1, 1, NaN]'),
        ('num_classes', '1e9'),
        ('output', 'pictures'),
        ('config', '[]'),
        ('input_name', 'a\x1b[2J'),
    ],
)
def test_an_odd_fact_is_refused(key, value, copies):
    change_model(copies / 'a.onnx', with_fact(key, value))
    refused(copies / 'a.onnx', 'its metadata is damaged')


def another_operator(model):
    model.graph.node[0].op_type = 'Loop'


def external_weights(model):
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key='location', value='/etc/passwd')


@pytest.mark.parametrize('change', [another_operator, external_weights])
def test_a_graph_that_no_export_has_is_refused(change, copies):
    change_model(copies / 'a.onnx', change)
    refused(copies / 'a.onnx', 'operators or data that python -m engine.export does not write')


@pytest.mark.parametrize(
    'old, new',
    [
        (b'</layers>', b"<layer type='&#76;oop'><body></body></layer></layers>"),
        (b'</layers>', b'<layer type="If"><then_body/></layer></layers>'),
        (b'<?xml version="1.0"?>', b'<?xml version="1.0" encoding="utf-16"?>'),
    ],
)
def test_openvinos_file_with_a_loop_or_another_encoding_is_refused(old, new, copies):
    path = copies / 'a.xml'
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(resealed(content.replace(old, new)))
    refused(path, 'no file as python -m engine.export writes it')
