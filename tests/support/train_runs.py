"""Run trainings of a second or less through train.py: a tiny D3Net on seeded images."""

import os
import signal
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest import mock

import nnabla as nn
import numpy as np
import pytest
import yaml

import evaluate
import train
from common.command import run_command
from engine import training
from engine.config.settings import ConfigSettings
from engine.device.settings import DeviceSettings
from engine.training.trainer import Trainer
from models import weights
from support import mpi_training, stand_ins, train_runs

SERIES = [f'{name}.series.txt' for name in ('Training-loss', 'Learning-rate', 'Validation-mIoU')]
CONFIG = {
    **stand_ins.TINY,
    # Fewer blocks than TINY, as the time of a run grows with the number of parameters.
    'num_layers': [1, 1],
    'n_blocks': [1, 1],
    'dense_n_out_layer_block': [1, 1],
    'dataset': 'folder',
    'batch_size': 2,
    'image_height': 24,
    'image_width': 40,
    'max_iter': 10,
    'save_interval': 4,
    'lr': 0.05,
    'weight_decay': 0.001,
}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """The root of a data set with 16 images to train on and 5 to validate."""
    root = tmp_path_factory.mktemp('data') / 'own'
    mpi_training.write_data(root)
    return root


def write_config(folder: Path, **changes) -> Path:
    """Write ``CONFIG`` with these changes; a key whose value is None is removed."""
    keys = {key: value for key, value in {**CONFIG, **changes}.items() if value is not None}
    path = folder / 'tiny.yaml'
    path.write_text(yaml.safe_dump(keys))
    return path


class Training:
    """A config and options of train.py, shared by runs in sibling folders.

    Logging and saving have different intervals, so that they do not coincide.

    Args:
        data: The root of the data set.
        folder: Receives the config and the run folders.
        *options: Options of train.py for all runs.
        **changes: Changes of ``CONFIG``.
    """

    def __init__(self, data: Path, folder: Path, *options, **changes):
        self.data, self.folder, self.options = data, folder, options
        self.config = write_config(folder, **changes)

    def arguments(self, name: str, *more) -> list[str]:
        """Return the arguments of train.py for the run ``name``."""
        options = ['-d', self.data, '-cfg', self.config, '-c', 'cpu', '-o', self.folder / name]
        options += ['--log-interval', 3, *self.options, *more]
        return [str(option) for option in options]

    def __call__(self, name: str, *more) -> int:
        """Train in this process, and return the exit status."""
        nn.clear_parameters()
        return run_command(train.build_parser, train.main, self.arguments(name, *more))

    def whole(self, name: str, *more) -> Path:
        """Train to the end, and return the run folder."""
        assert self(name, *more) == 0
        return self.folder / name

    def refused(self, capsys, name: str, *more) -> str:
        """Train, assert exit status 2 and no remaining worker, and return the one error line."""
        status = self(name, *more)
        captured = capsys.readouterr().err
        errors = [line for line in captured.splitlines() if line.startswith('error: ')]
        assert status == 2, captured
        assert len(errors) == 1
        assert not children()
        return errors[0]


def scores(training: Training, model: Path, *options) -> dict:
    """Return the report of evaluate.py for a file of weights."""
    nn.clear_parameters()
    report = training.folder / 'scores.json'
    arguments = ['-d', training.data, '-cfg', training.config, '-c', 'cpu', '-m', model]
    arguments += ['--backend', 'nnabla', '--split', 'val', '--json', report, *options]
    assert run_command(evaluate.build_parser, evaluate.main, [str(a) for a in arguments]) == 0
    return yaml.safe_load(report.read_text())


def handle(number: int):
    """Call the handler of a signal as Python does, without sending the signal."""
    signal.getsignal(number)(number, None)


@contextmanager
def signalled(iteration: int, *numbers: int):
    """Deliver signals, by default SIGTERM, to this process at the start of an iteration."""
    step = Trainer.step

    def and_signal(trainer, *arguments):
        if trainer.iteration + 1 == iteration:
            for number in numbers or (signal.SIGTERM,):
                handle(number)
        return step(trainer, *arguments)

    with mock.patch.object(Trainer, 'step', and_signal):
        yield


def command_lines() -> list[bytes]:
    """Return the command lines of all processes."""
    lines = []
    for path in Path('/proc').glob('[0-9]*/cmdline'):
        with suppress(OSError):  # the process has exited meanwhile
            lines.append(path.read_bytes())
    return lines


def children() -> list[str]:
    """Return the command lines of this process's loader workers."""
    found = []
    for path in Path('/proc').glob('[0-9]*/stat'):
        try:
            parent = path.read_text().rpartition(')')[2].split()[1]
            if int(parent) == os.getpid():
                found.append(path.with_name('cmdline').read_text())
        except OSError:  # the process has exited meanwhile
            continue
    return [command for command in found if 'datasets' in command]


def same_weights(one: Path, other: Path) -> bool:
    """Return whether two files hold the same parameters, bit for bit."""
    arrays, others = weights.read(one), weights.read(other)
    return list(arrays) == list(others) and all(
        np.array_equal(array.view(np.uint32), others[name].view(np.uint32))
        for name, array in arrays.items()
    )


def assert_same_run(folder: Path, other: Path):
    """Assert that two completed runs have the same files, weights bit for bit, and records."""
    names = {p.name for p in other.iterdir() if not p.name.startswith('events.')}
    assert {p.name for p in folder.iterdir() if not p.name.startswith('events.')} == names
    for name in names:
        if name.endswith('.h5') and name != 'state.h5':
            assert same_weights(folder / name, other / name), name
    for name in (*SERIES, 'validation.json'):
        assert (folder / name).read_text() == (other / name).read_text(), name


def settings_of(data, folder, keys=None, **changes):
    """Create the settings of three iterations, with these changes of the config."""
    config = train_runs.write_config(folder, **{'max_iter': 3, **(keys or {})})
    fields = dict(
        data_dir=str(data),
        output=str(folder / 'run'),
        workers=0,
        no_validation=True,
        config=ConfigSettings(str(config)),
        device=DeviceSettings('cpu'),
    )
    return training.TrainingSettings(**{**fields, **changes})
