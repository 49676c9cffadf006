"""Trainings of a second or less, for tests: a tiny D3Net on seeded images, through train.py."""

import os
import signal
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import nnabla as nn
import numpy as np
import pytest
import yaml

import evaluate
import train
from common.command import run_command
from engine.training.trainer import Trainer
from models import weights
from support import mpi_training, stand_ins

SERIES = [f'{name}.series.txt' for name in ('Training-loss', 'Learning-rate', 'Validation-mIoU')]
CONFIG = {
    **stand_ins.TINY,
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
    """A config with these keys changed, and without those that become None."""
    keys = {key: value for key, value in {**CONFIG, **changes}.items() if value is not None}
    path = folder / 'tiny.yaml'
    path.write_text(yaml.safe_dump(keys))
    return path


class Training:
    """A way to train, as options of train.py, in folders beside each other.

    Validation and log intervals are uneven on purpose: what is saved when does not fall together.
    """

    def __init__(self, data: Path, folder: Path, *options, **changes):
        self.data, self.folder, self.options = data, folder, options
        self.config = write_config(folder, **changes)

    def arguments(self, name: str, *more) -> list[str]:
        """Of train.py, for the run called ``name``."""
        options = ['-d', self.data, '-cfg', self.config, '-c', 'cpu', '-o', self.folder / name]
        options += ['--log-interval', 3, *self.options, *more]
        return [str(option) for option in options]

    def __call__(self, name: str, *more) -> int:
        """Train in this process; returns the exit status."""
        nn.clear_parameters()
        return run_command(train.build_parser, train.main, self.arguments(name, *more))

    def whole(self, name: str, *more) -> Path:
        """The folder of a run that has come to its end."""
        assert self(name, *more) == 0
        return self.folder / name

    def refused(self, capsys, name: str, *more) -> str:
        """The one line that says why there is no training; nothing is left running."""
        status = self(name, *more)
        captured = capsys.readouterr().err
        errors = [line for line in captured.splitlines() if line.startswith('error: ')]
        assert status == 2, captured
        assert len(errors) == 1
        assert not children()
        return errors[0]


def scores(training: Training, model: Path, *options) -> dict:
    """The report of evaluate.py."""
    nn.clear_parameters()
    report = training.folder / 'scores.json'
    arguments = ['-d', training.data, '-cfg', training.config, '-c', 'cpu', '-m', model]
    arguments += ['--backend', 'nnabla', '--split', 'val', '--json', report, *options]
    assert run_command(evaluate.build_parser, evaluate.main, [str(a) for a in arguments]) == 0
    return yaml.safe_load(report.read_text())


def handle(number: int):
    """What Python does when a signal comes; one that nobody handles does not end the tests."""
    signal.getsignal(number)(number, None)


@contextmanager
def signalled(iteration: int, number: int = signal.SIGTERM):
    """This process handles a signal in the middle of an iteration."""
    step = Trainer.step

    def and_signal(trainer, *arguments):
        if trainer.iteration + 1 == iteration:
            handle(number)
        return step(trainer, *arguments)

    with mock.patch.object(Trainer, 'step', and_signal):
        yield


def command_lines() -> list[Path]:
    """Where the command lines of all processes are."""
    return list(Path("/proc").glob("[0-9]*/cmdline"))


def children() -> list[str]:
    """The command lines of this process's children."""
    found = []
    for path in Path('/proc').glob('[0-9]*/stat'):
        try:
            parent = path.read_text().rpartition(')')[2].split()[1]
            if int(parent) == os.getpid():
                found.append(path.with_name('cmdline').read_text())
        except OSError:  # it has ended meanwhile
            continue
    return [command for command in found if 'datasets' in command]


def same_weights(one: Path, other: Path) -> bool:
    """Whether two files hold the same parameters, bit for bit."""
    arrays, others = weights.read(one), weights.read(other)
    return list(arrays) == list(others) and all(
        np.array_equal(array.view(np.uint32), others[name].view(np.uint32))
        for name, array in arrays.items()
    )


def assert_same_run(folder: Path, other: Path):
    """Two runs came to the same end: weights bit for bit, which files there are, their records."""
    names = {p.name for p in other.iterdir() if not p.name.startswith('events.')}
    assert {p.name for p in folder.iterdir() if not p.name.startswith('events.')} == names
    for name in names:
        if name.endswith('.h5') and name != 'state.h5':
            assert same_weights(folder / name, other / name), name
    for name in (*SERIES, 'validation.json'):
        assert (folder / name).read_text() == (other / name).read_text(), name
