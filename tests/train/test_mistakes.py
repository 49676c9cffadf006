"""Users' mistakes with train.py: one error line, exit status 2, no process left over."""

import os
import shutil

import cv2
import nnabla as nn
import numpy as np
import pytest

from engine.runs import checkpoints
from models import weights
from support import stand_ins, train_runs
from support.train_runs import Training, signalled

NETWORK = {key: value for key, value in train_runs.CONFIG.items() if key in stand_ins.TINY}


@pytest.fixture
def training(data, tmp_path):
    """A training of two iterations."""
    return Training(data, tmp_path, '--workers', 0, max_iter=2)


@pytest.fixture
def damaged(data, tmp_path):
    """A training on its own copy of the data, for tests that damage it."""
    shutil.copytree(data, tmp_path / 'damaged')
    return Training(tmp_path / 'damaged', tmp_path, '--workers', 2, '--no-validation', max_iter=9)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--bogus'], 'unrecognized arguments: --bogus'),
        (['--log-interval', '0'], '--log-interval must be at least 1, not 0'),
        (['--log-interval', 'often'], "--log-interval: invalid int value: 'often'"),
        (['--workers', '-1'], '--workers must be at least 0, not -1'),
        (['--seed', '-1'], '--seed must be at least 0, not -1'),
        (['--seed', 2**32], f'--seed must be at most {2**32 - 1}, not {2**32}'),
        (['--timeout', '0'], '--timeout must be greater than 0 seconds, not 0'),
        (['--timeout', 'nan'], '--timeout must be greater than 0 seconds, not nan'),
        (['-r', 'everything'], "invalid choice: 'everything'"),
        (['-c', 'tpu'], "invalid choice: 'tpu'"),
        (['-t', 'half'], 'half'),
        (['--channel-last'], '--channel-last: the CPU computes in (N, C, H, W) only'),
        (['-cfg', 'none.yaml'], 'none.yaml: no such config'),
        (['-d', 'nowhere'], 'nowhere: no such folder; expected there: dataset.yaml'),
        (['-p', 'none.h5'], 'none.h5: no such file of weights'),
        (['-p', '.'], 'a folder, not a file of weights'),
        (['--resume', 'nowhere'], 'nowhere: no such training state'),
        (['--set', 'pretrained=none.h5'], 'none.h5: no such file of weights'),
        (['--set', 'lr'], '--set lr: write it as key=value'),
        (['--set', 'learning=1'], 'learning: unknown key; the nearest is'),
        (['--set', 'lr=-1'], 'lr: must be greater than 0, not -1'),
        (['--set', 'lr=null'], 'lr: required for training'),
        (['--set', 'batch_size=null'], 'batch_size: required for training'),
        (['--set', 'save_minutes=0'], 'save_minutes: must be greater than 0, not 0'),
        (['--set', 'batch_size=0'], 'batch_size: must be at least 1 and at most 65536, not 0'),
        (
            ['--set', 'epochs=3'],
            '--set max_iter=null or --set epochs=null (max_iter: ',
        ),
        (['--set', 'max_iter=null'], 'needs one of them; neither is set ('),
        (['--set', 'max_iter=1', '--set', 'reference_batch=1'], 'max_iter: 1 iterations become 0'),
        (['--set', 'image_height=null'], 'scale_crop also needs image_height'),
        (['--set', 'image_height=2'], 'cannot take 2x40 pixels'),
        (['--set', 'train_split=trian'], "no split 'trian'"),
        (['--set', 'train_split=test'], 'nothing found for the split test'),
        (['--set', 'val_split=test'], 'nothing found for the split test'),
        (['--set', 'schedule=step'], 'milestones: the schedule step needs'),
        (['--set', 'solver=adam', '--set', 'beta2=1'], 'beta2: must be less than 1'),
        (['--set', 'freeze=[head/*]'], "freeze: 'head/*' matches no parameter; there are b"),
        (['--set', 'freeze=["*"]'], 'freeze: leaves no parameter to train'),
        (['--set', 'no_decay=[head/*]'], "no_decay: 'head/*' matches no parameter"),
        (['--set', 'lr_factors=[backbone/*]'], "write 'backbone/*' as pattern=factor"),
        (
            ['--set', 'class_weights=[1, 2]'],
            'class_weights: 2 values for 5 classes; list 5, or set class_weights to null (--set)',
        ),
        (['--set', 'aux_weights=[1, 2]'], 'aux_weights: 2 given, the network has 0'),
        (
            ['--set', 'loss=ohem', '--set', 'loss_mean=all'],
            'loss_mean: not supported by the loss ohem',
        ),
    ],
    ids=lambda value: ' '.join(map(str, value)) if isinstance(value, list) else '',
)
def test_options_and_keys_are_checked(options, message, training, capsys):
    assert message in training.refused(capsys, 'run', *options)
    assert not (training.folder / 'run' / 'state.h5').exists()


@pytest.mark.parametrize(
    'keys',
    [
        ['class_weights=[1, 2]'],
        ['loss=ohem', 'loss_mean=all'],
        ['solver=adam', 'beta1=1'],
        ['lr_factors=[backbone/*]'],
        ['schedule=step'],
    ],
)
def test_keys_are_checked_before_the_run_folder_is_created(keys, training, capsys):
    training.refused(capsys, 'run', *(part for key in keys for part in ('--set', key)))
    assert not (training.folder / 'run').exists()


def test_output_folders_that_cannot_be_written(training, tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    assert f'{tmp_path}/file: is a file; name a folder with -o' in training.refused(capsys, 'file')
    assert 'cannot be written' in training.refused(capsys, '/proc/run')
    assert 'cannot be written' in training.refused(capsys, 'file/run')


def test_folders_without_permission(damaged, tmp_path, capsys):
    (tmp_path / 'closed').mkdir(mode=0o500)
    if os.access(tmp_path / 'closed', os.W_OK):
        pytest.skip('this user has all permissions')
    for folder in (damaged.data, damaged.data / 'images' / 'train'):
        folder.chmod(0)
        line = damaged.refused(capsys, 'run')
        folder.chmod(0o700)
        assert str(folder) in line
    assert 'cannot be written' in damaged.refused(capsys, 'closed')


def test_a_split_without_images(damaged, capsys):
    for path in (damaged.data / 'images' / 'train').iterdir():
        path.unlink()
    for length in ('max_iter=null', 'max_iter=3'):
        epochs = ['--set', 'epochs=1'] if 'null' in length else []
        line = damaged.refused(capsys, 'run', '--set', length, *epochs)
        assert str(damaged.data) in line
        assert 'train' in line


def test_a_validation_split_without_labels(damaged, capsys):
    """The error comes at the start, not at the first validation."""
    damaged.options = ['--workers', 0]
    label = damaged.data / 'labels' / 'val' / '3.png'
    label.write_bytes(label.read_bytes()[:60])
    line = damaged.refused(capsys, 'run')
    assert str(label) in line
    shutil.rmtree(damaged.data / 'labels' / 'val')
    assert str(damaged.data) in damaged.refused(capsys, 'run')
    assert not (damaged.folder / 'run' / 'state.h5').exists()


@pytest.mark.parametrize('workers', [0, 2])
def test_an_unreadable_training_image(workers, damaged, capsys, caplog):
    """The error names the file; with --skip-bad another sample replaces it."""
    image = damaged.data / 'images' / 'train' / '7.png'
    image.write_bytes(image.read_bytes()[:200])
    line = damaged.refused(capsys, 'run', '--workers', workers)
    assert str(image) in line
    assert '; repair the file, or pass --skip-bad to train on another sample' in line
    run = damaged.whole('skipped', '--workers', workers, '--skip-bad')
    assert f'{image}' in caplog.text
    assert 'another sample takes its place' in caplog.text
    assert (run / 'final.h5').exists()


def test_a_label_that_is_not_a_class(damaged, capsys):
    label = damaged.data / 'labels' / 'train' / '7.png'
    values = cv2.imread(str(label), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(label), np.where(values == 255, 5, values))
    line = damaged.refused(capsys, 'run')
    assert str(label) in line
    assert 'the values 5' in line


def test_weights_that_do_not_fit(training, tmp_path, capsys):
    nn.parameter.get_parameter_or_create('other/W', (2, 3))
    weights.save(tmp_path / 'other.h5')
    nn.clear_parameters()
    stand_ins.tiny(**{**NETWORK, 'num_init_features': 12})(nn.Variable((1, 3, 24, 40)))
    weights.save(tmp_path / 'wider.h5')
    whole = (tmp_path / 'wider.h5').read_bytes()
    (tmp_path / 'half.h5').write_bytes(whole[: len(whole) // 2])
    for name, message in (
        ('other', 'does not fit the network, nothing was loaded: no name in it'),
        ('wider', 'with another shape: backbone/conv1/conv/W (12x3x3x3 instead of 8x3x3x3)'),
        ('half', 'truncated or not an NNabla .h5 file'),
    ):
        line = training.refused(capsys, 'run', '-p', tmp_path / f'{name}.h5')
        assert f'{name}.h5' in line
        assert message in line


def test_an_existing_run_is_not_overwritten(training, tmp_path, capsys):
    run = training.whole('run')
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    line = training.refused(capsys, 'run')
    assert f'{run}: holds a run at iteration 2: continue it with --resume' in line
    (run / 'state.h5').rename(tmp_path / 'state.h5')
    assert 'it cannot be continued, as it has no state.h5' in training.refused(capsys, 'run')
    assert training('run', '--resume') == 2
    (tmp_path / 'state.h5').rename(run / 'state.h5')
    assert before == {path.name: path.read_bytes() for path in run.iterdir()}


def test_states_that_cannot_be_resumed(training, data, tmp_path, capsys):
    with signalled(1):
        assert training('run') == 143
    state = tmp_path / 'run' / 'state.h5'
    good = state.read_bytes()
    capsys.readouterr()

    line = training.refused(capsys, 'run', '--resume', '--seed', 1)
    assert '--seed 1: the resumed run has the seed 0' in line

    wider = ['--set', 'num_init_features=12']
    assert 'num_init_features: 12 was 8' in training.refused(capsys, 'run', '--resume', *wider)
    line = training.refused(capsys, 'run', '--resume', *wider, '--allow-changes')
    assert 'the state belongs to another network' in line
    for allowed in ([], ['--allow-changes']):
        form = ['--resume', '--set', 'momentum_form=pytorch', *allowed]
        line = training.refused(capsys, 'run', *form)
        assert line.endswith('resume with --set momentum_form=nnabla')
    adam = ['--resume', '--set', 'solver=adam', '--allow-changes']
    assert "the solver's state does not fit" in training.refused(capsys, 'run', *adam)

    shutil.copytree(data, tmp_path / 'fewer')
    for folder in ('images', 'labels'):
        (tmp_path / 'fewer' / folder / 'train' / '7.png').unlink()
    line = training.refused(capsys, 'run', '--resume', '-d', tmp_path / 'fewer')
    assert 'samples 16, now it is 15' in line
    assert state.read_bytes() == good

    for content in (good[:-100], good[:5000] + b'?' + good[5001:], b'', b'text'):
        state.write_bytes(content)
        line = training.refused(capsys, 'run', '--resume')
        assert str(state) in line
        assert 'start from weights' in line
    state.write_bytes(good)
    assert training('run', '--resume') == 0
    assert checkpoints.load_facts(state)['iteration'] == 2
