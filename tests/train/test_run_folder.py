"""The files of a run: checkpoints, best weights, config, and what its seed determines."""

import json
import shutil

import numpy as np
import pytest
import yaml

import datasets
from datasets.loading import pack
from engine.runs import checkpoints
from models import weights
from support import train_runs
from support.train_runs import Training, assert_same_run, same_weights


def test_the_seed_determines_the_run(data, tmp_path, caplog):
    """The same seed gives the same bits with any number of workers; another seed does not."""
    training = Training(data, tmp_path, max_iter=3)
    zero = training.whole('zero', '--workers', 0)
    assert ', seed 0' in caplog.text
    for workers in (1, 3):
        assert_same_run(training.whole(f'workers {workers}', '--workers', workers), zero)
    seven = training.whole('seven', '--workers', 0, '--seed', 7)
    assert ', seed 7' in caplog.text
    assert checkpoints.load_facts(seven / 'state.h5')['seed'] == 7
    ours, others = (weights.read(folder / 'final.h5') for folder in (zero, seven))
    assert not np.array_equal(ours['backbone/conv1/conv/W'], others['backbone/conv1/conv/W'])
    losses = [(folder / 'Training-loss.series.txt').read_text() for folder in (zero, seven)]
    assert losses[0] != losses[1]


def test_packed_data_train_to_the_same_bits(data, tmp_path):
    """A packed data set takes the place of its files, which need not be there any more."""
    shutil.copytree(data, tmp_path / 'data')
    for split in ('train', 'val'):
        pack.pack(datasets.open('folder', tmp_path / 'data', split), tmp_path / 'packed' / split)
    shutil.rmtree(tmp_path / 'data')
    runs = [
        Training(root, tmp_path, '--workers', 1, max_iter=3).whole(name)
        for root, name in ((data, 'files'), (tmp_path / 'packed', 'packed run'))
    ]
    for name in ('final.h5', 'best.h5'):
        assert same_weights(runs[0] / name, runs[1] / name)


def test_the_time_between_saves_changes_nothing_else(uninterrupted, data, tmp_path, monkeypatch):
    """Numbers and files stay the same if every iteration is saved, or only the intervals."""
    training = Training(data, tmp_path, '--workers', 0, ema_decay=0.9)
    save, saved = checkpoints.save, []

    def recorded(path, state):
        saved.append(state.iteration)
        save(path, state)

    monkeypatch.setattr(checkpoints, 'save', recorded)
    for minutes, iterations in ((1e-6, [*range(1, 11)]), (1e6, [4, 8, 10])):
        saved.clear()
        run = training.whole(f'{minutes}', '--set', f'save_minutes={minutes}')
        assert saved == iterations
        assert_same_run(run, uninterrupted)


@pytest.mark.parametrize('changes', [{}, {'ema_decay': 0.7}])
def test_the_best_weights_have_the_scores_of_evaluate(changes, data, tmp_path):
    training = Training(
        data, tmp_path, '--workers', 0, max_iter=24, save_interval=6, lr=0.2, **changes
    )
    run = training.whole('run')
    entries = json.loads((run / 'validation.json').read_text())
    assert [entry['iteration'] for entry in entries] == list(range(6, 25, 6))
    best = max(entries, key=lambda entry: entry['miou'])
    assert best['miou'] > entries[0]['miou'], 'the test needs a run that learns'
    assert checkpoints.load_facts(run / 'state.h5')['best']['iteration'] <= best['iteration']
    for entry, file in ((best, 'best.h5'), (entries[-1], 'final.h5')):
        report = train_runs.scores(training, run / file)
        assert report['miou'] == entry['miou']
        assert report['pixel_accuracy'] == entry['pixel_accuracy']
        ious = {name: values['iou'] for name, values in report['classes'].items()}
        assert ious == entry['classes']


def test_older_weights_are_removed(data, tmp_path):
    def names(run):
        return sorted(path.name for path in run.glob('*.h5') if path.name != 'state.h5')

    training = Training(data, tmp_path, '--no-validation', '--workers', 0, save_interval=3)
    assert names(training.whole('one')) == ['final.h5', 'model_param_00000010.h5']
    three = training.whole('three', '--set', 'keep_checkpoints=3')
    kept = [f'model_param_{iteration:08d}.h5' for iteration in (6, 9, 10)]
    assert names(three) == ['final.h5', *kept]
    assert same_weights(three / 'final.h5', three / kept[-1])


def test_without_validation_its_labels_are_not_needed(tmp_path, data):
    own = tmp_path / 'data'
    shutil.copytree(data, own)
    shutil.rmtree(own / 'labels' / 'val')
    run = Training(own, tmp_path, '--no-validation', '--workers', 0, max_iter=2).whole('run')
    assert not (run / 'best.h5').exists()
    assert json.loads((run / 'validation.json').read_text()) == []


def test_the_config_of_a_run_reproduces_it(data, tmp_path):
    training = Training(data, tmp_path, '--workers', 0, max_iter=3)
    first = training.whole('first', '--set', 'momentum=0.5')
    training.config = first / 'config.yaml'
    assert yaml.safe_load(training.config.read_text())['momentum'] == 0.5
    assert_same_run(training.whole('second'), first)
