"""The peer of the benchmark: graphs as files, and what runs them without NNabla."""

import importlib.util
import json
import subprocess
import sys

import nnabla as nn
import nnabla.functions as F
import numpy as np
import pytest

import helpers
import models
from command import UserError
from d3net import layers as L
from d3net.graph import functions
from engine.benchmark import graph_file, peer, pytorch_graph
from models import complexity

LAYOUTS = (False, True)
NETWORKS = ('d3net', 'ddrnet23_slim_aux', 'fpn_regnetx400mf_edgeailite')
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec('torch') is None, reason='torch is not installed in this Python'
)


def create(name):
    return models.create(name, **(helpers.TINY if name == 'd3net' else {}))


def variable(*shape, seed=0):
    values = np.random.RandomState(seed).standard_normal(shape).astype(np.float32)
    return nn.Variable.from_numpy_array(values)


@pytest.mark.long
def test_the_table_has_every_function_of_every_network():
    missing = {}
    with helpers.zero_parameters():
        for name in models.names():
            nn.clear_parameters()
            network = create(name)
            size = complexity.nearest_size(network.info, (64, 64))
            for train in (False, True):
                outputs = network(nn.Variable((2, 3, *size)), train=train, cuda=False)
                kinds = {function.info.type_name for function in functions(*outputs)}
                if not kinds <= set(pytorch_graph.FUNCTIONS):
                    missing[name] = kinds - set(pytorch_graph.FUNCTIONS)
    assert not missing


def test_a_graph_comes_back_from_its_files(tmp_path):
    """Walked again with NNabla's own functions, it computes the same."""
    network, x = create('d3net'), variable(1, 3, 32, 32)
    y = network(x)[0]
    helpers.randomize_parameters()
    y.forward()
    graph_file.write(tmp_path, [x], [y])
    document = json.loads((tmp_path / graph_file.GRAPH).read_text())
    with np.load(tmp_path / graph_file.TENSORS) as file:
        tensors = {int(key): file[key] for key in file.files}
    assert len(document['functions']) == len(functions(y))

    parameters = nn.get_parameters(grad_only=False).values()
    assert len(tensors) == len(parameters)
    trained = sum(tensors[key].size for key in document['trained'])
    assert trained == sum(p.size for p in parameters if p.need_grad)
    known = {name.replace('_', ''): each for name, each in vars(nn.function_bases).items()}
    values = {key: nn.Variable.from_numpy_array(array) for key, array in tensors.items()}
    values[document['inputs'][0]] = x
    for each in document['functions']:
        inputs = [values[key] for key in each['inputs']]
        values[each['outputs'][0]] = known[each['kind'].lower()](*inputs, **each['arguments'])
    result = values[document['outputs'][0]]
    result.forward()
    np.testing.assert_array_equal(result.d, y.d)


def test_the_program_needs_nothing_of_the_project(tmp_path):
    """Only the standard library, numpy and torch are imported, from another folder."""
    source = peer.SCRIPT.read_text()
    imported = {
        line.split()[1].split('.')[0]
        for line in source.splitlines()
        if line.strip().startswith(('import ', 'from '))
    }
    assert imported - set(sys.stdlib_module_names) == {'numpy', 'torch'}


def test_without_torch_the_reason_is_told(tmp_path):
    code = f"""
import runpy, sys
sys.modules['torch'] = None
runpy.run_path({str(peer.SCRIPT)!r}, run_name='__main__')
"""
    process = subprocess.run(
        [sys.executable, '-c', code], input='{"do": "memory"}\n', capture_output=True, text=True
    )
    assert 'torch is not installed' in json.loads(process.stdout)['error']


def test_a_python_without_torch_is_refused(tmp_path):
    program = tmp_path / 'python'
    program.write_text('#!/bin/sh\necho "ModuleNotFoundError: no torch" >&2\nexit 1\n')
    program.chmod(0o755)
    with pytest.raises(UserError, match='no torch; PYTHON -m pip install torch numpy'):
        peer.check(str(program))
    with pytest.raises(UserError, match='no such program'):
        peer.check(str(tmp_path / 'other'))


@needs_torch
@pytest.mark.parametrize('channels_last', LAYOUTS)
@pytest.mark.parametrize('name', NETWORKS)
def test_networks_compute_the_same_in_pytorch(name, channels_last, tmp_path):
    network = create(name)
    size = complexity.nearest_size(network.info, (96, 128))
    x = variable(1, 3, *size)
    with helpers.zero_parameters():
        y = network(x)[0]
    helpers.randomize_parameters()
    check(x, y, channels_last, tmp_path)


@needs_torch
@pytest.mark.parametrize('channels_last', LAYOUTS)
@pytest.mark.parametrize(
    'function',
    [
        lambda x: L.resize(x, (13, 7)),
        lambda x: L.resize(x, (13, 7), how='bilinear_corners'),
        lambda x: L.resize(x, (18, 33), how='nearest'),
        lambda x: F.interpolate(x, output_size=(13, 7), mode='nearest', half_pixel_for_nn=True),
        lambda x: F.max_pooling(x, (3, 3), stride=(2, 2), pad=(1, 1)),
        lambda x: F.max_pooling(x, (2, 2), stride=(2, 2), ignore_border=False),
        lambda x: F.average_pooling(x, (3, 3), stride=(2, 2), pad=(1, 1)),
        lambda x: F.average_pooling(x, (3, 3), stride=(1, 1), pad=(1, 1), including_pad=False),
        lambda x: L.adaptive_average_pool(x, 3, L.Build()),
        lambda x: L.space_to_depth(x[:, :, :8, 1:11], 2, L.Build()),
        lambda x: F.swish(x) * F.sigmoid(x) - F.relu6(4 * x) / (2 + F.tanh(x)),
        lambda x: F.softmax(x, axis=1) ** 2,
    ],
)
def test_functions_compute_the_same_in_pytorch(function, channels_last, tmp_path):
    x = variable(2, 4, 9, 11)
    check(x, function(x), channels_last, tmp_path)


def check(x, y, channels_last, folder):
    import torch

    y.forward()
    graph_file.write(folder, [x], [y])
    graph = pytorch_graph.Graph(folder, channels_last=channels_last)
    with torch.inference_mode():
        result = graph(torch.from_numpy(x.d))[0].numpy()
    assert np.abs(result - y.d).max() <= 1e-5 * np.abs(y.d).max()
