"""Graphs in PyTorch compute what NNabla computes."""

import json
import shutil
import subprocess
import sys

import nnabla as nn
import nnabla.functions as F
import numpy as np
import pytest

import models
from benchmarks import graph_file, peer, pytorch_graph
from layers import functions as L
from layers.graph import functions
from models import complexity
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


@pytest.mark.long
def test_the_table_has_every_function_of_every_network():
    missing = {}
    with stand_ins.zero_parameters():
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


def test_the_script_imports_nothing_of_the_project():
    """It imports only the standard library, numpy and torch."""
    source = peer.GRAPH_SCRIPT.read_text()
    imported = {
        line.split()[1].split('.')[0]
        for line in source.splitlines()
        if line.strip().startswith(('import ', 'from '))
    }
    assert imported - set(sys.stdlib_module_names) == {'numpy', 'torch'}


def test_a_missing_torch_is_reported():
    code = f"""
import runpy, sys
sys.modules['torch'] = None
runpy.run_path({str(peer.GRAPH_SCRIPT)!r}, run_name='__main__')
"""
    process = subprocess.Popen(
        [sys.executable, '-c', code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    process.stdin.write('{"do": "memory"}\n')
    process.stdin.flush()
    answer = json.loads(process.stdout.readline())
    process.communicate()
    assert 'torch is not installed' in answer['error']


@pytest.mark.parametrize('channels_last', LAYOUTS)
@pytest.mark.parametrize('name', NETWORKS)
def test_networks_compute_the_same_in_pytorch(name, channels_last, pytorch, tmp_path):
    x, y = evaluated(name)
    assert difference_from_nnabla(pytorch, x, y, tmp_path, channels_last=channels_last) <= 1e-5


def test_bfloat16_computes_about_the_same(pytorch, tmp_path):
    x, y = evaluated('d3net')
    difference = difference_from_nnabla(
        pytorch, x, y, tmp_path, precision='bfloat16', channels_last=True
    )
    assert 1e-5 < difference < 0.1


@pytest.mark.long
def test_a_compiled_network_computes_the_same(pytorch, tmp_path):
    assert shutil.which('g++'), 'torch.compile needs a C++ compiler: apt-get install g++'
    x, y = evaluated('d3net')
    options = dict(form='compiled', mode='reduce-overhead')
    assert difference_from_nnabla(pytorch, x, y, tmp_path, channels_last=True, **options) <= 1e-5


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
def test_functions_compute_the_same_in_pytorch(function, channels_last, pytorch, tmp_path):
    x = variable(2, 4, 9, 11)
    assert (
        difference_from_nnabla(pytorch, x, function(x), tmp_path, channels_last=channels_last)
        <= 1e-5
    )


def evaluated(name):
    """Return an input of a network with seeded parameters, and its logits."""
    network = create(name)
    x = variable(1, 3, *complexity.nearest_size(network.info, (96, 128)))
    with stand_ins.zero_parameters():
        y = network(x)[0]
    stand_ins.randomize_parameters()
    return x, y


def difference_from_nnabla(pytorch, x, y, folder, **options) -> float:
    """Run a graph in PyTorch; return the largest difference, relative to NNabla's largest value."""
    y.forward()
    graph_file.write_graph(folder, [x], [y])
    options = {'form': 'eager', 'mode': 'default', **START, **PIXELS, **options}
    pytorch.request('start', folder=str(folder), threads=1, **options)
    np.save(folder / 'x.npy', x.d)
    pytorch.request('logits', input=str(folder / 'x.npy'), output=str(folder / 'y.npy'))
    return np.abs(np.load(folder / 'y.npy') - y.d).max() / np.abs(y.d).max()
