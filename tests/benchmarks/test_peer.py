"""The peer of the benchmark: graphs as files, and what runs them without NNabla.

PEER_PYTHON is a Python that has torch, by default this one.
"""

import json
import os
import shutil
import subprocess
import sys

import nnabla as nn
import nnabla.functions as F
import numpy as np
import pytest
import yaml

import models
from benchmarks import graph_file, peer, pytorch_graph
from common.errors import UserError
from engine.distributed.communicators import SingleProcessCommunicator
from engine.distributed.processes import Processes
from layers import functions as L
from layers.graph import functions
from models import complexity
from support import mpi_training, programs, stand_ins

LAYOUTS = (False, True)
NETWORKS = ('d3net', 'ddrnet23_slim_aux', 'fpn_regnetx400mf_edgeailite')
PYTHON = os.environ.get('PEER_PYTHON', sys.executable)
START = dict(device='cpu', precision='float32')
PIXELS = dict(mean=[0, 0, 0], std=[1, 1, 1], swap=False)


@pytest.fixture(scope='module')
def program(tmp_path_factory):
    """A process with torch that runs one graph after the other."""
    try:
        peer.check(PYTHON)
    except UserError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp('peer')
    x = variable(1, 1)
    graph_file.write(folder, [x], [F.relu(x)])
    program = peer.Program(
        'peer', PYTHON, folder, folder / 'kept', 1, 'start',
        channels_last=False, form='eager', mode='default', **START, **PIXELS,
    )  # fmt: skip
    yield program
    program.close()


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


def test_a_graph_comes_back_from_its_files(tmp_path):
    """Walked again with NNabla's own functions, it computes the same."""
    network, x = create('d3net'), variable(1, 3, 32, 32)
    y = network(x)[0]
    stand_ins.randomize_parameters()
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


def test_a_python_without_torch_is_refused(tmp_path):
    program = tmp_path / 'python'
    program.write_text('#!/bin/sh\necho "ModuleNotFoundError: no torch" >&2\nexit 1\n')
    program.chmod(0o755)
    with pytest.raises(UserError, match='no torch; PYTHON -m pip install torch numpy'):
        peer.check(str(program))
    with pytest.raises(UserError, match='no such program'):
        peer.check(str(tmp_path / 'other'))


@pytest.mark.parametrize('channels_last', LAYOUTS)
@pytest.mark.parametrize('name', NETWORKS)
def test_networks_compute_the_same_in_pytorch(name, channels_last, program, tmp_path):
    x, y = evaluated(name)
    assert differs(program, x, y, tmp_path, channels_last=channels_last) <= 1e-5


def test_bfloat16_is_about_the_same(program, tmp_path):
    x, y = evaluated('d3net')
    difference = differs(program, x, y, tmp_path, precision='bfloat16', channels_last=True)
    assert 1e-5 < difference < 0.1


@pytest.mark.long
@pytest.mark.skipif(shutil.which('g++') is None, reason='torch.compile needs a compiler')
def test_a_compiled_network_computes_the_same(program, tmp_path):
    x, y = evaluated('d3net')
    options = dict(form='compiled', mode='reduce-overhead')
    assert differs(program, x, y, tmp_path, channels_last=True, **options) <= 1e-5


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
def test_functions_compute_the_same_in_pytorch(function, channels_last, program, tmp_path):
    x = variable(2, 4, 9, 11)
    assert differs(program, x, function(x), tmp_path, channels_last=channels_last) <= 1e-5


def test_a_training_graph_holds_its_batch(tmp_path):
    """Nothing is fed from outside, and the table has all of its functions."""
    peer.write_training(training_config(), (32, 48), tmp_path)
    document = json.loads((tmp_path / graph_file.GRAPH).read_text())
    assert document['inputs'] == []
    assert {each['kind'] for each in document['functions']} <= set(pytorch_graph.FUNCTIONS)
    assert len(document['trained']) == len(nn.get_parameters())


def test_random_steps_have_no_peer(tmp_path):
    config = {'network': 'dabnet_e', 'num_classes': 5, 'batch_size': 2, 'lr': 0.1, 'max_iter': 9}
    with pytest.raises(UserError, match='solver adam has no counterpart'):
        peer.write_training({**config, 'solver': 'adam'}, (64, 64), tmp_path)
    config['network'] = next(name for name in models.names() if 'mobilenetv2' in name)
    with stand_ins.zero_parameters(), pytest.raises(UserError, match='drops values at random'):
        peer.write_training(config, (128, 128), tmp_path)


@pytest.mark.parametrize(
    'channels_last, precision, exact',
    [(False, 'float32', 1e-5), (True, 'float32', 1e-5), (True, 'bfloat16', 1e-2)],
)
def test_steps_of_training_are_those_of_nnabla(channels_last, precision, exact, program, tmp_path):
    config = training_config()
    training = peer.write_training(config, (32, 48), tmp_path)
    expected = own_steps(config, training, 3)
    program.ask(
        'start_training', folder=str(tmp_path), device='cpu', channels_last=channels_last,
        precision=precision, threads=1, rate=training.rate(0), momentum=0.9,
        weight_decay=training.weight_decay,
    )  # fmt: skip
    found = [program.ask('step')[0] for _ in range(3)]
    np.testing.assert_allclose(found[0], expected[0], rtol=exact)
    np.testing.assert_allclose(found, expected, rtol=1e-2 if precision == 'float32' else 1e-1)
    assert expected[2] < expected[0]


@pytest.mark.parametrize('kind', ('inference', 'training'))
def test_pytorch_takes_part(kind, program, tmp_path):
    """The program is asked for only because it shows that there is a torch."""
    config, report = tmp_path / 'tiny.yaml', tmp_path / 'report.json'
    config.write_text(yaml.safe_dump({**stand_ins.TINY, 'lr': 0.1, 'max_iter': 9}))
    process = programs.run(
        '-m', 'benchmarks', kind, '-cfg', config, '-c', 'cpu', '--size', '64x96',
        '--rounds', 1, '--json', report, '--peer', 'pytorch', '--peer-python', PYTHON,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    document = json.loads(report.read_text())
    precision = ' float32' if kind == 'inference' else ''
    names = [f'pytorch {form}{precision}' for form in ('contiguous', 'channels_last')]
    found = {result['name']: result['details'] for result in document['results']}
    assert list(found)[-2:] == names
    for name in names:
        assert found[name]['MiB'] > 50
    assert 'threads' in document['settings']['PyTorch']
    if kind == 'inference':
        assert found[names[1]]['x pytorch'] == 1
        assert found[names[1]]['differs'] <= 1e-4


def training_config() -> dict:
    return {**stand_ins.TINY, 'lr': 0.1, 'max_iter': 9, 'batch_size': 2, 'accumulation': 1,
            'network': 'd3net'}  # fmt: skip


def own_steps(config, recipe, count) -> list[float]:
    """The losses of NNabla's own training, on the batch that the graph holds."""
    network, processes = models.create(config), Processes()

    class Loader:
        samples = ()

        def next(self):
            return peer.batch((2, 3, 32, 48), network.info.num_classes)

        def state_dict(self):
            return {}

    trainer = mpi_training.trainer_of(
        network, config, recipe, Loader(), processes, SingleProcessCommunicator(processes)
    )
    return [trainer.step().loss for _ in range(count)]


def evaluated(name):
    """An input of a network, and its logits."""
    network = create(name)
    x = variable(1, 3, *complexity.nearest_size(network.info, (96, 128)))
    with stand_ins.zero_parameters():
        y = network(x)[0]
    stand_ins.randomize_parameters()
    return x, y


def differs(program, x, y, folder, **options) -> float:
    """How far PyTorch's result is from that of NNabla, as a share of the largest value."""
    y.forward()
    graph_file.write(folder, [x], [y])
    options = {'form': 'eager', 'mode': 'default', **START, **PIXELS, **options}
    program.ask('start', folder=str(folder), threads=1, **options)
    np.save(folder / 'x.npy', x.d)
    program.ask('logits', input=str(folder / 'x.npy'), output=str(folder / 'y.npy'))
    return np.abs(np.load(folder / 'y.npy') - y.d).max() / np.abs(y.d).max()
