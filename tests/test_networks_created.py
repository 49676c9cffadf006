"""Each command creates its network once; the check of a config creates none."""

import pytest

from support import command_session, mpi_training
from support.shared_results import computed_once
from support.train_runs import write_config

NETWORKS = {'train': 1, 'resume': 1, 'evaluate': 1, 'infer': 1, 'export': 1, 'config': 0}


@pytest.fixture(scope='module')
def commands(tmp_path_factory):
    """All commands with one config, in one process."""
    _, results = computed_once(tmp_path_factory, 'networks_created', run_commands)
    return command_session.finished(results)


def run_commands(folder):
    mpi_training.write_data(folder / 'data')
    image = next((folder / 'data').rglob('*.png'))
    config = ['-cfg', write_config(folder, max_iter=4, save_interval=4), '-c', 'cpu']
    train = ['train.py', *config, '-d', folder / 'data', '-o', folder / 'run', '--workers', 0]
    model = [*config, '-m', folder / 'run' / 'final.h5']
    return command_session.run(
        {
            'train': train,
            'resume': [*train, '--resume', '--set', 'max_iter=5', '--allow-changes'],
            'evaluate': ['evaluate.py', *model, '-d', folder / 'data', '--backend', 'openvino'],
            'infer': ['infer.py', *model, '-i', image, '-o', folder / 'x.png'],
            'export': [
                *('-m', 'engine.export', *config[:2], '-m', folder / 'run' / 'final.h5'),
                *('-o', folder / 'x.onnx', '--size', '32x48'),
            ],
            'config': ['-m', 'engine.config', *config[:2]],
        }
    )


@pytest.mark.parametrize('command', NETWORKS)
def test_a_command_creates_its_network_once(command, commands):
    assert commands[command].returncode == 0, commands[command].stderr
    assert commands[command].networks == NETWORKS[command]
