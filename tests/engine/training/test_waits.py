"""A line of the log, and of train.log, precedes every long wait of train.py and evaluate.py."""

import pytest

from common import files
from engine.device import context
from engine.device.context import DeviceChoice
from engine.evaluation import evaluator
from engine.training import gpu_check, prepare
from engine.training.trainer import Trainer
from support import train_runs
from support.train_runs import Training, data

__all__ = ['data']
GPU = DeviceChoice('cudnn', 'float')


@pytest.fixture
def run(data, tmp_path, monkeypatch, caplog):
    """A training of two iterations with one validation, of which each step counts as long."""
    caplog.set_level('INFO')
    monkeypatch.setattr(evaluator, 'MANY_FILES', 5)
    monkeypatch.setattr(files, 'LARGE_BYTES', 1)
    monkeypatch.setenv('NNSEG_CACHE', str(tmp_path / 'cache'))
    return Training(data, tmp_path, '--workers', 0, max_iter=2)


def place_of(lines, *parts):
    """Return the number of the only line that contains all parts."""
    (place,) = [n for n, line in enumerate(lines) if all(part in line for part in parts)]
    return place


def test_lines_precede_the_waits_of_a_training(run, monkeypatch):
    log, seen = run.folder / 'run' / 'train.log', {}

    def noting(owner, name):
        function = getattr(owner, name)

        def noted(*arguments):
            seen[name] = log.read_text().splitlines()
            return function(*arguments)

        monkeypatch.setattr(owner, name, noted)

    noting(evaluator.label_scan, 'judge')  # after the labels of a split are read
    noting(evaluator, 'predict_shard')
    noting(Trainer, 'step')
    run.whole('run')
    assert 'checking the labels of 5 images of val' in seen['judge'][-1]
    assert 'iteration 2: validating on 5 images' in seen['predict_shard'][-1]
    place_of(seen['step'], 'training to iteration 2, with a line every 3')
    lines = log.read_text().splitlines()
    saving = place_of(lines, 'saving the state of iteration 2, ')
    assert saving < place_of(lines, 'validating on 5') < place_of(lines, 'mIoU')


def test_lines_precede_the_waits_of_an_evaluation(run, caplog):
    final = run.whole('run', '--no-validation') / 'final.h5'
    caplog.clear()
    train_runs.scores(run, final)
    lines = caplog.messages
    waits = (f'opening folder val in {run.data}', f'reading {final}, ')
    waits += ('checking the labels of 5 images of val', 'segmenting 5 images of val')
    places = [place_of(lines, wait) for wait in waits]
    assert places == sorted(places)


def test_a_line_precedes_the_comparison_of_a_gpu(run, monkeypatch, caplog):
    """On the CPU here, whose functions are not compared for the lack of a GPU."""
    told = []
    monkeypatch.setattr(
        gpu_check, 'require_agreement', lambda *arguments: told.extend(caplog.messages)
    )
    monkeypatch.setattr(prepare, 'choose_context', lambda *arguments: GPU)
    monkeypatch.setattr(context, 'release_cached_memory', lambda choice: None)
    run.whole('run', '--no-validation')
    assert told[-1] == 'comparing the functions of the training with the CPU'
