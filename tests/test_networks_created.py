"""A command creates its network once, and a check of a config none."""

import pytest

from support import programs
from support.train_runs import data, write_config  # noqa: F401

COUNTING = ['--import', programs.PROJECT / 'tests' / 'support' / 'counting.py']


@pytest.fixture(scope='module')
def run(data, tmp_path_factory):  # noqa: F811
    """What a training of four iterations printed, and its folder."""
    folder = tmp_path_factory.mktemp('run')
    config = write_config(folder, max_iter=4, save_interval=4)
    options = ['-cfg', config, '-d', data, '-c', 'cpu', '-o', folder / 'run', '--workers', 0]
    return programs.run('train.py', *COUNTING, *options), folder, data


def created(process):
    assert process.returncode == 0, process.stderr
    (line,) = [line for line in process.stderr.splitlines() if line.startswith('networks created')]
    return int(line.rpartition(' ')[2])


def test_train(run):
    process, folder, data = run  # noqa: F811
    assert created(process) == 1
    resumed = programs.run(
        'train.py', *COUNTING, '-cfg', folder / 'tiny.yaml', '-d', data, '-c', 'cpu',
        '-o', folder / 'run', '--resume', '--set', 'max_iter=5', '--allow-changes', '--workers', 0,
    )  # fmt: skip
    assert created(resumed) == 1


@pytest.mark.parametrize('command', ['evaluate', 'infer', 'export', 'config'])
def test_other_commands(run, command):
    _, folder, data = run  # noqa: F811
    model = ['-m', folder / 'run' / 'final.h5']
    image = next(data.rglob('*.png'))
    arguments, networks = {
        'evaluate': (['evaluate.py', *model, '-d', data, '--backend', 'openvino'], 1),
        'infer': (['infer.py', *model, '-i', image, '-o', folder / 'x.png'], 1),
        'export': (['-m', 'engine.export', *model, '-o', folder / 'x.onnx', '--size', '32x48'], 1),
        'config': (['-m', 'engine.config'], 0),
    }[command]
    process = programs.run(*arguments, '-cfg', folder / 'tiny.yaml', *COUNTING)
    assert created(process) == networks
