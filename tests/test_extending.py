"""Parts of a user's own, one of each kind, through all commands."""

import json
import shutil

import cv2
import h5py
import nnabla as nn
import numpy as np
import onnx
import onnxruntime
import pytest
import yaml

import common
import models
import train
from common.command import run_command
from engine.runs import checkpoints
from models import weights
from support import command_session, mpi_jobs, programs
from support.shared_results import computed_once

OWN_PARTS = programs.PROJECT / 'tests' / 'support' / 'own_parts.py'
PARTS = ['--import', OWN_PARTS]
CONFIG = {
    'network': 'own_net',
    'own_width': 5,
    'dataset': 'own_shapes',
    'loss': 'own_loss',
    'own_gamma': 1.5,
    'augmentation': 'own_corner',
    'own_shift': 3,
    'image_height': 24,
    'image_width': 32,
    'batch_size': 2,
    'max_iter': 30,
    'save_interval': 15,
    'lr': 0.2,
}
BACKENDS = ('own_runtime', 'nnabla')


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """The folder of all files, and the finished commands by name."""
    folder, results = computed_once(tmp_path_factory, 'extending', run_commands)
    commands = command_session.finished(results)
    for name, process in commands.items():
        assert process.returncode == 0 or name == 'invalid', f'{name}: {process.stderr}'
    return folder, commands


@pytest.fixture
def folder(finished):
    """The folder with data, config, run and results."""
    return finished[0]


@pytest.fixture
def commands(finished):
    """The finished commands by name; all but ``invalid`` have succeeded."""
    return finished[1]


def run_commands(folder):
    """Write data and config, then run every command with own parts in one process."""
    (folder / 'own.yaml').write_text(yaml.safe_dump(CONFIG))
    paths = f'{programs.PROJECT}:{programs.PROJECT / "tests"}'
    process = programs.run(OWN_PARTS, folder / 'data', PYTHONPATH=paths)
    assert process.returncode == 0, process.stderr
    config, data = [*PARTS, '-cfg', folder / 'own.yaml'], ['-d', folder / 'data']
    model, image = ['-m', folder / 'run' / 'best.h5'], folder / 'data' / 'val' / '0.png'
    train_options = ['-c', 'cpu', '-o', folder / 'run', '--workers', 1]
    arguments = {'train': ['train.py', *config, *data, *train_options]}
    for backend in BACKENDS:
        options = [*config, *model, '-c', 'cpu', '--backend', backend]
        scores, picture = folder / f'{backend}.json', folder / f'{backend}.png'
        arguments[f'evaluate {backend}'] = ['evaluate.py', *options, *data, '--json', scores]
        arguments[f'infer {backend}'] = [
            'infer.py', *options, '-i', image, '-o', picture, '--save-labels',
        ]  # fmt: skip
    arguments |= {
        'export': [
            '-m', 'engine.export', *config, *model, '-o', folder / 'own.onnx', '--size', '32x48',
        ],
        'check': [
            '-m', 'datasets.prepare', 'own_shapes', *PARTS, *data, '--check', '--processes', 2,
        ],
        'reference': ['-m', 'engine.config', *PARTS, '--reference'],
        'invalid': ['-m', 'engine.config', *config, '--set', 'own_shift=5'],
    }  # fmt: skip
    return command_session.run(arguments)


def test_training_uses_all_parts(commands, folder):
    config = yaml.safe_load((folder / 'run' / 'config.yaml').read_text())
    assert config.items() >= CONFIG.items()
    arrays = weights.read(folder / 'run' / 'final.h5')
    assert arrays['layer/conv/conv/W'].shape == (5, 3, 3, 3)


def test_own_backend_scores_as_nnabla(commands, folder):
    own, reference = (json.loads((folder / f'{name}.json').read_text()) for name in BACKENDS)
    for backend in BACKENDS:
        assert 'square' in commands[f'evaluate {backend}'].stdout
    assert own['settings']['backend'] == 'own_runtime'
    assert own['settings']['dataset'] == 'own_shapes'
    assert own['miou'] == reference['miou'] > 0.5


def test_own_backend_segments_as_nnabla(commands, folder):
    own, reference = (
        cv2.imread(str(folder / f'{name}_labels.png'), cv2.IMREAD_UNCHANGED) for name in BACKENDS
    )
    np.testing.assert_array_equal(own, reference)
    assert len(np.unique(reference)) > 1


def test_a_run_is_resumed_on_two_ranks(commands, folder, tmp_path):
    resumed = tmp_path / 'two'
    shutil.copytree(folder / 'run', resumed)
    options = [
        *PARTS, '-cfg', folder / 'own.yaml', '-d', folder / 'data', '-c', 'cpu', '-o', resumed,
        '--resume', '--allow-changes', '--set', 'max_iter=32', '--set', 'batch_size=1',
    ]  # fmt: skip
    process = mpi_jobs.run(2, 'train.py', *options)
    assert process.returncode == 0, process.stderr
    assert 'iteration 32/32' in (resumed / 'train.log').read_text()
    assert weights.read(resumed / 'final.h5').keys() == weights.read(folder / 'run/final.h5').keys()


def test_own_network_is_exported(commands, folder):
    assert 'own.onnx written' in commands['export'].stdout
    image = cv2.imread(str(folder / 'data' / 'val' / '0.png'))[..., ::-1]
    info = models.NetworkInfo(num_classes=3, size_divisor=2, paper='')
    x = (image.astype(np.float32) - info.mean) / info.std
    (logits,) = onnxruntime.InferenceSession(folder / 'own.onnx').run(
        None, {'image': x.transpose(2, 0, 1)[None].astype(np.float32)}
    )
    truth = np.load(folder / 'data' / 'val' / '0.npy')
    assert np.mean(logits[0].argmax(axis=0)[truth < 255] == truth[truth < 255]) > 0.7


def test_all_outputs_name_the_version(commands, folder):
    """Config, weights and state of a run, scores, and exports."""
    run, version = folder / 'run', common.__version__
    first_line = (run / 'config.yaml').read_text().splitlines()[0]
    assert first_line == f'# The effective config of this run, written by nnseg {version}'
    with h5py.File(run / 'final.h5') as file:
        assert file.attrs['nnseg_version'] == version
    assert checkpoints.load_facts(run / 'state.h5')['versions']['nnseg'] == version
    assert json.loads((folder / 'nnabla.json').read_text())['versions']['nnseg'] == version
    metadata = {entry.key: entry.value for entry in onnx.load(folder / 'own.onnx').metadata_props}
    assert json.loads(metadata['versions'])['nnseg'] == version


def test_own_data_is_checked_in_worker_processes(commands):
    assert 'ground' in commands['check'].stdout


def test_own_keys_are_documented_and_checked(commands):
    for key in ('own_width', 'own_gamma', 'own_shift'):
        assert f'  {key}: ' in commands['reference'].stdout
    message = 'own_shift: must be at least 0 and at most 4, not 5'
    assert programs.error_line(commands['invalid']).startswith(f'error: {message}')


def test_own_parts_are_unknown_without_import(folder, capsys):
    """The test process has not imported the module."""
    nn.clear_parameters()
    arguments = ['-cfg', folder / 'own.yaml', '-d', folder / 'data']
    assert run_command(train.build_parser, train.main, [str(a) for a in arguments]) == 2
    assert "network: no network is called 'own_net'" in capsys.readouterr().err
