"""Graphs as files contain everything that computes their outputs."""

import json

import nnabla as nn
import numpy as np
import pytest

import models
from benchmarks import graph_file
from layers.graph import functions
from support import stand_ins

pytestmark = pytest.mark.bench

LAYOUTS = (False, True)
NETWORKS = ('d3net', 'ddrnet23_slim_aux', 'fpn_regnetx400mf_edgeailite')
START = dict(device='cpu', precision='float32')
PIXELS = dict(mean=[0, 0, 0], std=[1, 1, 1], swap=False)


def create(name):
    return models.create(name, **(stand_ins.TINY if name == 'd3net' else {}))


def variable(*shape, seed=0):
    values = np.random.RandomState(seed).standard_normal(shape).astype(np.float32)
    return nn.Variable.from_numpy_array(values)


def test_a_graph_can_be_rebuilt_from_its_files(tmp_path):
    """Rebuilt with NNabla's functions, it computes the same bits."""
    network, x = create('d3net'), variable(1, 3, 32, 32)
    y = network(x)[0]
    stand_ins.randomize_parameters()
    y.forward()
    graph_file.write_graph(tmp_path, [x], [y])
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
