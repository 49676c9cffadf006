"""The PyTorch peer trains as NNabla does, and is measured beside it."""

import json

import nnabla as nn
import numpy as np
import pytest

import models
from benchmarks import graph_file, peer, pytorch_graph
from common.errors import UserError
from engine.distributed.communicators import SingleProcessCommunicator
from engine.distributed.processes import Processes
from support import mpi_training, programs, stand_ins

pytestmark = pytest.mark.bench


def test_a_python_without_torch_is_refused(tmp_path):
    program = tmp_path / 'python'
    program.write_text('#!/bin/sh\necho "ModuleNotFoundError: no torch" >&2\nexit 1\n')
    program.chmod(0o755)
    with pytest.raises(UserError, match='no torch; PYTHON -m pip install torch numpy'):
        peer.require_torch(str(program))
    with pytest.raises(UserError, match='no such program'):
        peer.require_torch(str(tmp_path / 'other'))


def test_a_training_graph_includes_its_batch(tmp_path):
    """The graph has no inputs, and the table has all its functions."""
    peer.write_training(training_config(), (32, 48), tmp_path)
    document = json.loads((tmp_path / graph_file.GRAPH).read_text())
    assert document['inputs'] == []
    assert {each['kind'] for each in document['functions']} <= set(pytorch_graph.FUNCTIONS)
    assert len(document['trained']) == len(nn.get_parameters())


def test_trainings_that_pytorch_cannot_repeat_are_refused(tmp_path):
    config = {'network': 'dabnet_e', 'num_classes': 5, 'batch_size': 2, 'lr': 0.1, 'max_iter': 9}
    with pytest.raises(UserError, match='solver adam is not supported'):
        peer.write_training({**config, 'solver': 'adam'}, (64, 64), tmp_path)
    config['network'] = next(name for name in models.names() if 'mobilenetv2' in name)
    with stand_ins.zero_parameters(), pytest.raises(UserError, match='has dropout'):
        peer.write_training(config, (128, 128), tmp_path)


@pytest.mark.parametrize(
    'channels_last, precision, exact',
    [(False, 'float32', 1e-5), (True, 'float32', 1e-5), (True, 'bfloat16', 1e-2)],
)
def test_training_steps_have_the_losses_of_nnabla(
    channels_last, precision, exact, pytorch, tmp_path
):
    config = training_config()
    training = peer.write_training(config, (32, 48), tmp_path)
    expected = own_steps(config, training, 3)
    pytorch.request(
        'start_training', folder=str(tmp_path), device='cpu', channels_last=channels_last,
        precision=precision, threads=1, rate=training.rate(0), momentum=0.9,
        weight_decay=training.weight_decay,
    )  # fmt: skip
    found = [pytorch.request('step')[0] for _ in range(3)]
    np.testing.assert_allclose(found[0], expected[0], rtol=exact)
    np.testing.assert_allclose(found, expected, rtol=1e-2 if precision == 'float32' else 1e-1)
    assert expected[2] < expected[0]


@pytest.mark.parametrize('kind', ('inference', 'training'))
def test_pytorch_is_measured(kind, peer_python, tiny, tmp_path):
    report = tmp_path / 'report.json'
    process = programs.run(
        '-m', 'benchmarks', kind, '-cfg', tiny, '-c', 'cpu', '--size', '64x96',
        '--rounds', 1, '--json', report, '--peer', 'pytorch', '--peer-python', peer_python,
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


def own_steps(config, hyperparameters, count) -> list[float]:
    """Train with NNabla on the batch of the graph; return the losses."""
    network, processes = models.create(config), Processes()

    class Loader:
        samples = ()

        def next(self):
            return peer.batch((2, 3, 32, 48), network.info.num_classes)

        def state_dict(self):
            return {}

    trainer = mpi_training.trainer_of(
        network, config, hyperparameters, Loader(), processes, SingleProcessCommunicator(processes)
    )
    return [trainer.step().loss for _ in range(count)]
