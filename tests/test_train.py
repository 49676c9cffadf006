"""train.py as a user types it: what a run does, and that it goes on as if nothing had happened."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import count

import nnabla as nn
import numpy as np
import pytest
import yaml

from datasets.loading.sampler import Sampler
from engine.inference.predictor import Predictor
from engine.runs import checkpoints
from engine.runs.run_folder import RunFolder
from engine.training.losses import Objective
from engine.training.optimizer import Optimizer
from models import weights
from support import mpi_jobs, programs, stand_ins, train_runs
from support.train_runs import Training, assert_same_run, children, handle, same_weights, signalled

data = train_runs.data
POINTS = {'call': 400000, 'write': 70, 'replace': 25, 'image': 12}  # about as many has a run
LIVES = {
    'averaged, two workers': (['--workers', 2], {'ema_decay': 0.9}),
    'accumulated, adam': (
        ['--workers', 0, '--seed', 5],
        {
            'solver': 'adam',
            'lr': 0.01,
            'accumulation': 2,
            'val_interval': 3,
            'batch_size': 1,
            'save_minutes': 1e-6,
        },
    ),
    'nesterov, averaged, clipped': (
        ['--workers', 1],
        {'solver': 'nesterov', 'ema_decay': 0.8, 'clip_norm': 0.5, 'keep_checkpoints': 2},
    ),
}


@pytest.fixture(scope='module')
def averaged(data, tmp_path_factory):
    """The folder of a run that nothing has interrupted, and the options of such runs."""
    folder = tmp_path_factory.mktemp('whole')
    return Training(data, folder, '--workers', 0, ema_decay=0.9).whole('run')


OVERFITTED = """
dataset: camvid
val_split: train
num_classes: 11
num_init_features: 16
num_layers: [2, 2]
n_blocks: [1, 1]
dens_k: [12, 16]
block_comp: [0.5, 0.5]
intermediate_out_ch: [16, 24]
channels: 48
dense_n_out_layer_block: [2, 2]
augmentation: resize_crop
resize_height: 120
resize_width: 160
image_height: 120
image_width: 160
crop_scales: [1, 1]
flip: 0
test_size: [120, 160]
batch_size: 4
max_iter: 72
solver: adam
lr: 0.02
"""


@pytest.mark.parametrize('processes', [1, 2])
def test_real_images_are_learned_by_heart(processes, shared, tmp_path):
    """Four of CamVid, by a D3Net of 20 000 parameters, alone and by two processes."""
    for folder in ('train', 'trainannot'):
        (tmp_path / 'camvid' / folder).mkdir(parents=True)
        for path in sorted((shared / 'data' / 'camvid' / folder).iterdir())[::9]:
            shutil.copy(path, tmp_path / 'camvid' / folder)
    (tmp_path / 'overfitted.yaml').write_text(OVERFITTED)
    options = [
        '-d', tmp_path / 'camvid', '-cfg', tmp_path / 'overfitted.yaml', '-c', 'cpu',
        '-o', tmp_path / 'run', '--workers', 1, '--set', f'batch_size={4 // processes}',
    ]  # fmt: skip
    if processes == 1:
        process = programs.run('train.py', *options)
    else:
        process = mpi_jobs.run(processes, 'train.py', *options, OMP_NUM_THREADS='1')
    assert process.returncode == 0, process.stderr
    (entry,) = json.loads((tmp_path / 'run' / 'validation.json').read_text())
    assert entry['pixel_accuracy'] > 90


def killed(training, kind, number, *options):
    """Whether a training is killed at a point; else it has come to its end."""
    process = programs.run(
        'tests/support/killed_training.py', kind, number, *training.arguments('run', *options),
        PYTHONPATH=str(programs.PROJECT),
    )  # fmt: skip
    assert 'Traceback' not in process.stderr
    assert process.returncode in (0, -signal.SIGKILL), process.stderr
    return process.returncode != 0


@pytest.mark.parametrize('life', LIVES)
def test_killed_at_any_moment_a_run_ends_with_the_same_bits(life, data, tmp_path):
    """Killed again and again, mostly while it goes on from the kill before: between any two
    functions, in the middle of a file, before a file takes its place, between two images of a
    validation.
    """
    options, changes = LIVES[life]
    training = Training(data, tmp_path, *options, **changes)
    whole = training.whole('whole')
    rng = np.random.RandomState(list(LIVES).index(life))
    kills = 0
    for kind in rng.permutation([*POINTS, 'call', 'write']):
        if killed(training, kind, rng.randint(1, POINTS[kind]), '--resume'):
            kills += 1
        else:
            shutil.rmtree(tmp_path / 'run')
    training.whole('run', '--resume')
    assert kills >= 3, 'the points are beyond the ends'
    assert_same_run(tmp_path / 'run', whole)


@pytest.mark.parametrize('iteration', [1, 8, 9, 10])
def test_a_signal_saves_and_leaves(iteration, averaged, data, tmp_path):
    """Between two saves, at one, and at the last iteration."""
    training = Training(data, tmp_path, ema_decay=0.9)
    run = tmp_path / 'run'
    with signalled(iteration, signal.SIGTERM):
        assert training('run', '--workers', 2) == 143
    assert not children()
    assert checkpoints.load_facts(run / 'state.h5')['iteration'] == iteration
    assert not (run / 'final.h5').exists()
    with signalled(min(iteration + 1, 10), signal.SIGINT):
        assert training('run', '--workers', 0, '--resume') in (130, 0)
    assert_same_run(training.whole('run', '--workers', 0, '--resume'), averaged)


def test_a_signal_during_validation_or_saving_ends_it_at_once(
    averaged, data, tmp_path, monkeypatch
):
    training = Training(data, tmp_path, '--workers', 0, ema_decay=0.9)
    for function, owner in (('labels', Predictor), ('save', checkpoints)):
        done, original = [], getattr(owner, function)

        def interrupted(*arguments, done=done, original=original):
            done.append(True)
            if len(done) == 2:
                handle(signal.SIGTERM)
            return original(*arguments)

        monkeypatch.setattr(owner, function, interrupted)
        assert training(function) == 143
        monkeypatch.undo()
        assert len(done) == 2
        assert_same_run(training.whole(function, '--resume'), averaged)


@pytest.mark.parametrize(
    ('number', 'status'), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 143)]
)
def test_signals_to_the_command(number, status, data, tmp_path):
    """As a scheduler or a terminal sends them; one line tells of it, no worker is left."""
    training = Training(data, tmp_path, '--workers', 2, max_iter=2000)
    process = subprocess.Popen(
        [sys.executable, programs.PROJECT / 'train.py', *training.arguments('run')],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    log = tmp_path / 'run' / 'train.log'
    assert mpi_jobs.wait_for(lambda: log.exists() and 'iteration 6/' in log.read_text())
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == status, err
    assert err.count('stopped after iteration') == 1
    assert 'Traceback' not in err
    iteration = checkpoints.load_facts(tmp_path / 'run' / 'state.h5')['iteration']
    assert f'stopped after iteration {iteration}, which is saved' in err
    time.sleep(0.1)
    mine = f'{tmp_path}'.encode()
    lines = [p.read_bytes() for p in train_runs.command_lines()]
    assert not [line for line in lines if mine in line]


def test_resuming_where_nothing_is_starts(data, tmp_path, caplog):
    training = Training(data, tmp_path, '--workers', 0, '--no-validation', max_iter=2)
    training.whole('run', '--resume')
    assert 'no state to resume from, starting anew' in caplog.text


def test_resuming_a_run_that_is_done_changes_nothing(averaged, data, tmp_path):
    """Its last validation may not have come to its end: it is done again, not told twice."""
    training = Training(data, tmp_path, '--workers', 0, ema_decay=0.9)
    shutil.copytree(averaged, tmp_path / 'run')
    (tmp_path / 'run' / 'final.h5').unlink()
    assert_same_run(training.whole('run', '--resume'), averaged)


def test_a_run_goes_on_in_another_folder(averaged, data, tmp_path):
    """By the name of the folder or of the state, and by any spelling of its own."""
    training = Training(data, tmp_path, '--workers', 0, ema_decay=0.9)
    with signalled(5):
        assert training('run') == 143
    training.whole('other', '--resume', tmp_path / 'run')
    assert same_weights(tmp_path / 'other' / 'final.h5', averaged / 'final.h5')
    assert (tmp_path / 'other' / 'best.h5').exists()
    spelling = tmp_path / 'other' / '..' / 'run' / 'state.h5'
    assert_same_run(training.whole('run', '--resume', spelling), averaged)


def test_resuming_with_changes(data, tmp_path, capsys, caplog):
    """What has changed is said, and is a mistake unless it is wanted."""
    training = Training(data, tmp_path, '--workers', 0)
    with signalled(5):
        assert training('run') == 143
    capsys.readouterr()
    batch = ['--set', 'batch_size=3', '--set', 'lr=0.02', '--skip-bad']
    line = training.refused(capsys, 'run', '--resume', *batch)
    assert '--skip-bad: on was off' in line
    assert 'batch_size: 3 was 2' in line
    assert 'lr: 0.02 was 0.05' in line
    assert '--allow-changes' in line
    training.whole('run', '--resume', *batch, '--allow-changes')
    assert 'resuming with changes: ' in caplog.text
    assert 'the order of the samples starts anew: ' in caplog.text
    facts = checkpoints.load_facts(tmp_path / 'run' / 'state.h5')
    assert (facts['config']['batch_size'], facts['iteration']) == (3, 10)
    assert facts['options']['--skip-bad'] == 'on'
    comment = (tmp_path / 'run' / 'config.yaml').read_text().splitlines()[1]
    assert comment == '# Trained by 1 process with -c cpu -t float --skip-bad'


@pytest.mark.parametrize('solver', ['momentum', 'adam'])
def test_a_run_from_before_milestones_were_scaled(solver, data, tmp_path, capsys):
    schedule = {'schedule': 'step', 'milestones': [2, 6], 'reference_batch': 1}
    training = Training(data, tmp_path, '--workers', 0, solver=solver, **schedule)
    with signalled(1):
        assert training('run') == 143
    path = tmp_path / 'run' / 'state.h5'
    state = checkpoints.load(path)
    state.config.pop('momentum_form', None)  # nor was there this key
    checkpoints.save(path, dataclasses.replace(state, scaled=False))
    capsys.readouterr()
    line = training.refused(capsys, 'run', '--resume')
    assert 'was another: milestones: now scaled by the reference_batch; --allow' in line
    training.whole('run', '--resume', '--allow-changes')
    assert checkpoints.load(path).scaled


def test_resuming_tells_what_it_does_not_take(data, tmp_path, caplog):
    """Weights to start from are not read, even where there are none; the data may have moved."""
    training = Training(data, tmp_path, '--workers', 0, '--no-validation')
    with signalled(5):
        assert training('run') == 143
    shutil.copytree(data, tmp_path / 'moved')
    training.data = tmp_path / 'moved'
    training.whole('run', '--resume', '-p', 'none.h5')
    assert '-p none.h5 is not read: the weights are those of the state' in caplog.text
    assert f'the folder of the data is {tmp_path / "moved"}, it was {data}' in caplog.text


def test_a_run_that_is_running_is_not_resumed(data, tmp_path, capsys):
    """Not by another process, until it is dead."""
    training = Training(data, tmp_path, '--workers', 0, max_iter=2000)
    process = subprocess.Popen(
        [sys.executable, programs.PROJECT / 'train.py', *training.arguments('run')],
        stderr=subprocess.DEVNULL,
    )
    state = tmp_path / 'run' / 'state.h5'
    try:
        assert mpi_jobs.wait_for(state.exists)
        line = training.refused(capsys, 'run', '--resume')
        assert f'{tmp_path / "run"}: process {process.pid} on ' in line
        assert 'is training there; wait for it or end it' in line
    finally:
        process.kill()
        process.wait()
    last = checkpoints.load_facts(state)['iteration'] + 1
    with signalled(last):
        assert training('run', '--resume') == 143


def test_an_average_that_is_switched_on_begins_with_the_weights(data, tmp_path):
    """Not with the random ones of the start: what is saved at once is what was trained."""
    training = Training(data, tmp_path, '--workers', 0, save_interval=5)
    with signalled(5):
        assert training('run') == 143
    trained = checkpoints.load(tmp_path / 'run' / 'state.h5').parameters
    (tmp_path / 'run' / 'best.h5').unlink(missing_ok=True)
    more = ['--resume', '--set', 'ema_decay=0.999', '--allow-changes', '--set', 'val_interval=50']
    with signalled(6):
        assert training('run', *more) == 143
    saved = weights.read(tmp_path / 'run' / 'model_param_00000005.h5')
    assert all(np.array_equal(saved[name], array) for name, array in trained.items())


@pytest.mark.parametrize('room', ['for half a state', 'for some lines', 'for nothing'])
def test_a_full_disk_leaves_what_was_good(room, averaged, data, tmp_path, capsys):
    """One line tells of it, and with room again the run goes on as if nothing had happened."""
    training = Training(data, tmp_path, '--workers', 0, ema_decay=0.9)
    with signalled(5):
        assert training('run') == 143
    run = tmp_path / 'run'
    good = (run / 'state.h5').read_bytes()
    size = {
        'for half a state': len(good) // 2,
        'for some lines': (run / 'train.log').stat().st_size + 150,
        'for nothing': 0,
    }[room]
    capsys.readouterr()
    with programs.full_disk(size):
        line = training.refused(capsys, 'run', '--resume')
    assert 'cannot be written (File too large)' in line
    assert (run / 'state.h5').read_bytes() == good
    assert_same_run(training.whole('run', '--resume'), averaged)


@pytest.mark.parametrize('method', ['save_weights', 'save_best'])
def test_a_disk_that_has_no_room_for_weights(method, averaged, data, tmp_path, monkeypatch, capsys):
    """The state of that iteration has been saved before."""
    training = Training(data, tmp_path, '--workers', 0, ema_decay=0.9)
    save = getattr(RunFolder, method)

    def without_room(*arguments):
        with programs.full_disk(1000):
            return save(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, method, without_room)
        line = training.refused(capsys, 'run')
    assert '.h5: cannot be written (File too large)' in line
    state = tmp_path / 'run' / 'state.h5'
    assert line.endswith(f'; iteration 4 is saved in {state}; --resume goes on from there')
    assert checkpoints.load_facts(state)['best'] is None
    assert_same_run(training.whole('run', '--resume'), averaged)


def test_seeds(data, tmp_path, caplog):
    """The same seed gives the same bits with any number of workers; another one does not."""
    training = Training(data, tmp_path, max_iter=3)
    zero = training.whole('zero', '--workers', 0)
    assert ', seed 0' in caplog.text
    for workers in (1, 3):
        assert_same_run(training.whole(f'workers {workers}', '--workers', workers), zero)
    seven = training.whole('seven', '--workers', 2, '--seed', 7)
    assert ', seed 7' in caplog.text
    assert checkpoints.load_facts(seven / 'state.h5')['seed'] == 7
    ours, others = (weights.read(folder / 'final.h5') for folder in (zero, seven))
    assert not np.array_equal(ours['backbone/conv1/conv/W'], others['backbone/conv1/conv/W'])
    losses = [(folder / 'Training-loss.series.txt').read_text() for folder in (zero, seven)]
    assert losses[0] != losses[1]


def test_what_diverges_ends_with_its_files_and_the_last_good_weights(
    averaged, data, tmp_path, capsys
):
    training = Training(data, tmp_path, '--workers', 1, ema_decay=0.9)
    with signalled(5):
        assert training('run') == 143
    run = tmp_path / 'run'
    good = (run / 'state.h5').read_bytes()
    capsys.readouterr()
    line = training.refused(capsys, 'run', '--resume', '--allow-changes', '--set', 'lr=1e+39')
    assert 'is not finite after iteration 6 ' in line
    named = [path for path in (data / 'images' / 'train').iterdir() if str(path) in line]
    assert len(named) == 2
    assert f'the last good state, of iteration 5, is {run / "state.h5"}: with a lower lr' in line
    assert line.endswith(f'the latest weights are {run / "model_param_00000004.h5"}')
    assert (run / 'state.h5').read_bytes() == good
    assert_same_run(training.whole('run', '--resume'), averaged)


def test_what_diverges_leaves_the_older_state(data, tmp_path, capsys):
    """Weights of which the next loss is not finite, at whatever rate, replace no good state."""
    training = Training(data, tmp_path, '--workers', 0, lr=1e20)
    line = training.refused(capsys, 'run')
    assert 'is not finite in iteration 2 ' in line or 'loss of iteration 2 is not finite' in line
    assert line.endswith('nothing is saved yet; a lower lr may help')
    assert not (tmp_path / 'run' / 'state.h5').exists()


def poison_loss(monkeypatch):
    """The loss of the sixth iteration is not a number."""
    feed, calls = Objective.feed, count(1)

    def poisoned(objective, labels, totals):
        feed(objective, labels, totals * np.nan if next(calls) == 6 else totals)

    monkeypatch.setattr(Objective, 'feed', poisoned)


def exhaust_memory(monkeypatch):
    """There is none for the sixth update."""
    overflow, calls = Optimizer.has_overflow, count(1)

    def fails(optimizer):
        if next(calls) == 6:
            raise MemoryError('none left')
        return overflow(optimizer)

    monkeypatch.setattr(Optimizer, 'has_overflow', fails)


@pytest.mark.parametrize('fault', [poison_loss, exhaust_memory])
def test_an_error_in_a_step_leaves_a_state_to_go_on_from(
    fault, averaged, data, tmp_path, monkeypatch, caplog, capsys
):
    """The run goes on to the same bits, though a forward pass has moved running statistics."""
    training = Training(data, tmp_path, '--workers', 2, ema_decay=0.9)
    state = tmp_path / 'run' / 'state.h5'
    with monkeypatch.context() as patch:
        fault(patch)
        if fault is poison_loss:
            line = training.refused(capsys, 'run')
            assert 'the loss of iteration 6 is not finite' in line
            assert f'the last good state, of iteration 4, is {state}' in line
        else:
            with pytest.raises(MemoryError, match='none left'):
                training('run')
            assert f'iteration 5 is saved in {state}; --resume goes on from there' in caplog.text
    assert checkpoints.load_facts(state)['iteration'] == (4 if fault is poison_loss else 5)
    assert_same_run(training.whole('run', '--resume'), averaged)


@pytest.mark.parametrize(('workers', 'accumulation'), [(0, 2), (2, 1)])
def test_a_sample_that_cannot_be_read_ends_the_run_after_the_step_before(
    workers, accumulation, data, tmp_path, capsys
):
    """Once it is mended the run goes on to the same bits, also when the first of a step's batches
    could be loaded.
    """
    own = tmp_path / 'data'
    shutil.copytree(data, own)
    training = Training(
        own, tmp_path, '--workers', workers, accumulation=accumulation, batch_size=1, max_iter=12
    )
    whole = training.whole('whole')
    names = sorted(path.name for path in (own / 'images' / 'train').iterdir())
    _, index = Sampler(len(names), 1, 0).sample(6 * accumulation - 1)  # the last of iteration 6
    image = own / 'images' / 'train' / names[index]
    good = image.read_bytes()
    image.write_bytes(b'not a picture')
    line = training.refused(capsys, 'run')
    state = tmp_path / 'run' / 'state.h5'
    assert line.startswith(f'error: {image}: ')
    assert line.endswith(f'; iteration 5 is saved in {state}; --resume goes on from there')
    assert str(image) in training.refused(capsys, 'run', '--resume')  # and nothing is lost
    image.write_bytes(good)
    assert_same_run(training.whole('run', '--resume'), whole)


def test_saving_by_time_changes_nothing_else(averaged, data, tmp_path, monkeypatch):
    """No number, and no file: with each iteration saved, and with those of the interval alone."""
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
        assert_same_run(run, averaged)


def test_weights_that_are_not_finite_are_never_saved(data, tmp_path, capsys):
    """The loss is that before the update, which may be the one that spoils them."""
    training = Training(data, tmp_path, '--workers', 0, save_interval=1, lr=1e39)
    line = training.refused(capsys, 'run')
    assert 'is not finite after iteration 1 ' in line
    assert not list((tmp_path / 'run').glob('*.h5'))


@pytest.mark.parametrize('changes', [{}, {'ema_decay': 0.7}])
def test_the_best_weights_have_the_scores_of_evaluate(changes, data, tmp_path):
    training = Training(
        data, tmp_path, '--workers', 0, max_iter=24, save_interval=3, lr=0.2, **changes
    )
    run = training.whole('run')
    entries = json.loads((run / 'validation.json').read_text())
    assert [entry['iteration'] for entry in entries] == list(range(3, 25, 3))
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


def test_without_validation_no_labels_of_it_are_needed(tmp_path, data):
    own = tmp_path / 'data'
    shutil.copytree(data, own)
    shutil.rmtree(own / 'labels' / 'val')
    run = Training(own, tmp_path, '--no-validation', '--workers', 0, max_iter=2).whole('run')
    assert not (run / 'best.h5').exists()
    assert json.loads((run / 'validation.json').read_text()) == []


def test_the_config_of_a_run_trains_the_same(data, tmp_path):
    training = Training(data, tmp_path, '--workers', 0, max_iter=3)
    first = training.whole('first', '--set', 'momentum=0.5')
    training.config = first / 'config.yaml'
    assert yaml.safe_load(training.config.read_text())['momentum'] == 0.5
    assert_same_run(training.whole('second'), first)


@pytest.fixture
def pretrained(tmp_path):
    """Weights of a whole network, and of its backbone alone as D3Net's are published."""
    nn.clear_parameters()
    stand_ins.tiny()(nn.Variable((1, 3, 24, 40)))
    stand_ins.randomize_parameters(seed=3)
    weights.save(tmp_path / 'whole.h5')
    for name in list(nn.get_parameters(grad_only=False)):
        if not name.startswith('backbone/'):
            nn.parameter.pop_parameter(name)
    with nn.parameter_scope('backbone'):
        nn.save_parameters(str(tmp_path / 'backbone.h5'))
    return weights.read(tmp_path / 'whole.h5')


def still(**changes):
    """Changes of a config that leave all weights as they are, but for running statistics."""
    return {'max_iter': 1, 'lr': 1e-30, 'weight_decay': None, **changes}


def kept(run, start):
    """The trained parameters that a run has from its start."""
    final = weights.read(run / 'final.h5')
    return {
        name
        for name, array in final.items()
        if name in start and not name.endswith(('/mean', '/var')) and np.array_equal(
            array, start[name]
        )
    }  # fmt: skip


def test_weights_to_start_from(pretrained, data, tmp_path, caplog):
    training = Training(data, tmp_path, '--no-validation', '--workers', 0, **still())
    trained = {name for name in pretrained if not name.endswith(('/mean', '/var'))}
    backbone = {name for name in trained if name.startswith('backbone/')}

    assert kept(training.whole('whole', '-p', tmp_path / 'whole.h5'), pretrained) == trained
    assert f'{len(pretrained)} parameters to start from' in caplog.text

    run = training.whole('backbone', '-p', tmp_path / 'backbone.h5')
    assert backbone <= kept(run, pretrained)
    assert 'parameters start from random values' in caplog.text

    more = ['--set', f'pretrained={tmp_path / "whole.h5"}']
    assert kept(training.whole('by key', *more), pretrained) == trained
    assert kept(training.whole('anew'), pretrained) < trained - backbone


def test_weights_of_another_number_of_classes_start_all_but_the_head(
    pretrained, data, tmp_path, caplog
):
    seven = tmp_path / 'seven'
    shutil.copytree(data, seven)
    (seven / 'dataset.yaml').write_text('classes: [a, b, c, d, e, f, g]\nlabel_format: indices\n')
    changes = still(num_classes=7)
    training = Training(seven, tmp_path, '--no-validation', '--workers', 0, **changes)
    run = training.whole('run', '-p', tmp_path / 'whole.h5')
    head = {name for name in pretrained if name.startswith('decode_head/conv_seg/')}
    assert len(head) == 2
    assert (
        f'{len(head)} parameters start from random values, among them decode_head/' in caplog.text
    )
    trained = {name for name in pretrained if not name.endswith(('/mean', '/var'))}
    assert kept(run, pretrained) == trained - head


@pytest.mark.parametrize('solver', ['momentum', 'adamw'])
def test_what_is_frozen_keeps_its_bits(solver, pretrained, data, tmp_path):
    """With weight decay, momentum and batch statistics, over several steps; all else moves."""
    training = Training(
        data, tmp_path, '--no-validation', '--workers', 0, '-p', tmp_path / 'whole.h5',
        solver=solver,
        freeze=['backbone/*'], weight_decay=0.1, ema_decay=0.9,
    )  # fmt: skip
    final = weights.read(training.whole('run') / 'final.h5')
    unchanged = {name for name in final if np.array_equal(final[name], pretrained[name])}
    assert unchanged == {name for name in final if name.startswith('backbone/')}
    state = checkpoints.load(tmp_path / 'run' / 'state.h5')
    assert not [name for name in state.solver if name.startswith('backbone/')]
