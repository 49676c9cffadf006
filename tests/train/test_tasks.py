"""train.py with several tasks: its files, resuming, the best weights, and mistakes of users."""

import json
import shutil

import cv2
import numpy as np
import pytest
import yaml

from engine import Segmenter
from engine.config.settings import ConfigSettings
from engine.export import exporting
from engine.export.settings import ExportSettings, FormSettings
from engine.runs import checkpoints
from models import weights
from support import evaluate_runs, task_runs
from support.task_runs import TASKS, TaskTraining
from support.train_runs import same_weights, signalled

LEARNED = {'task_weighting': 'learned', 'solver': 'adam', 'ema_decay': 0.9}
SERIES = [f'Training-loss{part}.series.txt' for part in ('', *(f'-{task}' for task in TASKS))]
SERIES += [f'Validation-{name}.series.txt' for name in ('score', *TASKS)]


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    """The root of a data set with six scenes to train on and three to validate."""
    return task_runs.write_data(tmp_path_factory.mktemp('scenes') / 'own')


@pytest.fixture(scope='module')
def whole(scenes, tmp_path_factory):
    """The folder of a completed run with learned scales."""
    return TaskTraining(scenes, tmp_path_factory.mktemp('whole'), **LEARNED).whole('run')


def test_a_run_records_each_task(whole):
    names = {path.name for path in whole.iterdir()}
    assert {*SERIES, 'best.h5', 'final.h5', 'state.h5'} <= names
    last = json.loads((whole / 'validation.json').read_text())[-1]
    assert list(last['tasks']) == TASKS
    depth, *others = (last['tasks'][task] for task in TASKS)
    expected = np.mean([100 - depth['ard'], *(task['miou'] for task in others)])
    assert last['score'] == pytest.approx(expected)
    log = (whole / 'train.log').read_text()
    assert '(depth ' in log
    assert '; scales ' in log
    assert 'validation score ' in log
    rows = [np.loadtxt(whole / name) for name in SERIES[:4]]
    assert [row.shape for row in rows] == [(3, 2)] * 4
    scales = checkpoints.load_facts(whole / 'state.h5')['task_scales']
    assert sum(scales['scales']) == pytest.approx(3)
    assert scales['scales'] != [1, 1, 1]


@pytest.mark.parametrize('iteration', [2, 5])
def test_a_resumed_run_writes_the_same_bits(iteration, whole, scenes, tmp_path):
    """Also the means of an interval that the stop divides, task by task."""
    training = TaskTraining(scenes, tmp_path, **LEARNED)
    with signalled(iteration):
        assert training('run') == 143
    run = training.whole('run', '--resume')
    for name in ('final.h5', 'best.h5', 'model_param_00000008.h5'):
        assert same_weights(run / name, whole / name), name
    for name in SERIES:
        assert (run / name).read_text() == (whole / name).read_text(), name
    states = [checkpoints.load(folder / 'state.h5') for folder in (run, whole)]
    assert states[0].task_scales == states[1].task_scales
    assert states[0].best == states[1].best


def test_the_best_task_decides_which_weights_are_kept(scenes, tmp_path):
    """The scores of all validations, and the weights of the one that is best by them."""
    changes = {'val_interval': 1, 'save_interval': 1, 'keep_checkpoints': 9, 'lr': 0.05}
    changes['max_iter'] = 5
    for name, keys in (('depth', {'best_task': 'depth'}), ('mix', {'best_weights': [1, 0, 3]})):
        training = TaskTraining(scenes, tmp_path, **changes, **keys)
        run = training.whole(name)
        entries = json.loads((run / 'validation.json').read_text())
        scores = [_score(entry['tasks'], keys) for entry in entries]
        assert [entry['score'] for entry in entries] == pytest.approx(scores)
        best = entries[int(np.argmax(scores))]['iteration']
        assert same_weights(run / 'best.h5', run / f'model_param_{best:08d}.h5')
        earlier = entries[int(np.argmax(scores[:-1]))]['iteration']  # a state precedes its scores
        assert checkpoints.load_facts(run / 'state.h5')['best']['iteration'] == earlier


def _score(tasks, keys):
    ard, motion = tasks['depth']['ard'], tasks['motion']['miou']
    return 100 - ard if 'best_task' in keys else (100 - ard + 3 * motion) / 4


def test_another_choice_of_the_best_weights_starts_anew(whole, scenes, tmp_path):
    """A score by other weights cannot be compared with the earlier one."""
    shutil.copytree(whole, tmp_path / 'run')
    training = TaskTraining(scenes, tmp_path, **LEARNED, best_task='motion', max_iter=9)
    run = training.whole('run', '--resume', '--allow-changes')
    best = checkpoints.load_facts(run / 'state.h5')['best']
    assert best['score_weights'] == {'depth': 0, 'segmentation': 0, 'motion': 1}


def test_a_task_has_its_own_loss(scenes, tmp_path):
    """Keys of one task: OHEM and class weights change its loss, not those of the others."""
    changes = {'max_iter': 1, 'log_interval': None}
    own = {
        'motion': {'loss': 'ohem', 'ohem_min_kept': 50},
        'segmentation': {'class_weights': [5, 1, 1]},
    }
    losses = {}
    for name, keys in (('plain', {}), ('own', {'task_losses': own})):
        training = TaskTraining(scenes, tmp_path, '--no-validation', **changes, **keys)
        run = training.whole(name)
        losses[name] = {
            task: np.loadtxt(run / f'Training-loss-{task}.series.txt')[1] for task in TASKS
        }
    assert losses['own']['depth'] == losses['plain']['depth']
    for task in ('segmentation', 'motion'):
        assert losses['own'][task] != pytest.approx(losses['plain'][task], rel=1e-3)


def test_initial_weights_and_a_network_of_depth_alone(whole, scenes, tmp_path):
    changes = {'tasks': ['depth'], 'task_channels': None, 'max_iter': 1}
    training = TaskTraining(scenes, tmp_path, '-p', whole / 'final.h5', **changes)
    run = training.whole('run')
    assert set(weights.read(run / 'final.h5')) < set(weights.read(whole / 'final.h5'))
    (entry,) = json.loads((run / 'validation.json').read_text())
    assert list(entry['tasks']) == ['depth']
    assert 'classes' not in (run / 'config.yaml').read_text()
    training.whole('run', '--resume', '--allow-changes', '--set', 'max_iter=2')


@pytest.fixture
def frames(scenes, tmp_path):
    """The data set with the frame before in the place of flow, which dataset.yaml says."""
    data = tmp_path / 'frames'
    shutil.copytree(scenes, data)
    with open(data / 'dataset.yaml', 'a') as file:
        file.write('input_kind: image\n')
    return data


def test_a_run_keeps_what_its_data_are(frames, tmp_path, caplog):
    """Its pictures and classes, in exported files, too: the data can be elsewhere then."""
    training = TaskTraining(frames, tmp_path, '--no-validation', max_iter=1)
    run = training.whole('run')
    shutil.rmtree(frames)
    file = tmp_path / 'run.onnx'
    form = FormSettings(size='32x64', output='maps')
    settings = ExportSettings(
        output_file=file, config=ConfigSettings(config_file=run / 'config.yaml'), form=form
    )
    assert exporting.export_network(settings) == 0
    for segmenter in (Segmenter(run, context='cpu'), Segmenter(weights=file)):
        assert segmenter.network.flow == (False, False)
        assert segmenter.network.info.of_task('motion').classes == ('static', 'moving')
    assert 'names of the classes' not in caplog.text
    config = yaml.safe_load((run / 'config.yaml').read_text())
    del config['task_classes']
    (run / 'older.yaml').write_text(yaml.safe_dump(config))
    Segmenter(run / 'older.yaml', weights=run / 'final.h5', context='cpu')
    assert 'the names of the classes of motion are in neither the config nor' in caplog.text


def test_states_of_older_versions_have_the_kind_of_their_data(frames, tmp_path):
    training = TaskTraining(frames, tmp_path, '--no-validation', max_iter=1)
    run = training.whole('run')
    state = checkpoints.load(run / 'state.h5')
    del state.config['input_kind']
    checkpoints.save(run / 'state.h5', state)
    training.whole('run', '--resume', '--set', 'max_iter=1')


def test_classes_of_a_task_in_another_order(scenes, tmp_path, capsys):
    """Labels of motion would have other meanings, for a training as for scores."""
    data = tmp_path / 'own'
    shutil.copytree(scenes, data)
    training = TaskTraining(data, tmp_path, '--no-validation', max_iter=1)
    run = training.whole('run')
    text = (data / 'dataset.yaml').read_text()
    (data / 'dataset.yaml').write_text(text.replace('[static, moving]', '[moving, static]'))
    own = ['-d', data, '-cfg', run, '-c', 'cpu']
    problem = "class 0 of motion is 'static' in the config"
    assert problem in evaluate_runs.refused(capsys, *own)
    assert problem in TaskTraining(data, tmp_path).refused(capsys, 'run', '--resume', '-cfg', run)
    line = training.refused(capsys, 'run', '--resume')
    assert 'classes of motion: moving, static were in the order static, moving' in line


MISTAKES = [  # changes of the config, and the beginning of the message
    ({'task_weights': [1, 2]}, 'task_weights: 2 values for 3 tasks (depth, segmentation, motion)'),
    ({'task_weights': [0, 0, 0]}, 'task_weights: are all 0'),
    ({'task_weighting': 'learned', 'task_weights': [0, 1, 1]}, 'task_weights: must be greater'),
    ({'task_weighting': 'uncertainty'}, 'task_weighting: must be fixed or learned'),
    ({'class_weights': [1, 2, 3]}, 'class_weights: 3 values for 2 classes; list 2, or set'),
    (
        {'task_losses': {'motion': {'class_weights': [1.0]}}},
        'task_losses: motion: class_weights: 1 values for 2 classes',
    ),
    ({'task_losses': {'movement': {}}}, 'task_losses: movement: no task of the network'),
    (
        {'task_losses': {'depth': {'loss': 'ohem'}}},
        'task_losses: depth: loss: no key of the loss of depth; the nearest is ',
    ),
    ({'task_losses': {'motion': 3}}, 'task_losses: motion: must be a block of "key: value" lines'),
    ({'task_losses': [1]}, 'task_losses: must be a block of "key: value" lines'),
    (
        {'task_classes': {'motion': ['a', 'b']}},
        'task_classes: motion: must be a block with classes',
    ),
    ({'task_classes': {'motion': {'classes': ['a']}}}, 'task_classes: 1 classes for motion, but'),
    (
        {'task_classes': {'motion': {'classes': ['a', 'b'], 'palette': [[1, 2, 300]]}}},
        'task_classes: motion: palette: must be at least 0 and at most 255',
    ),
    (
        {'task_classes': {'segmentation': {'classes': ['a', 'b', 'c']}}},
        'task_classes: segmentation: no task with classes after the first one, which are motion; ',
    ),
    (
        {'task_losses': {'motion': {'aux_weights': [0.4]}}},
        'task_losses: motion: aux_weights: the task has no auxiliary heads; they are those of seg',
    ),
    (
        {'task_losses': {'segmentation': {'aux_weights': [0.4]}}},
        'aux_weights: 1 given, the network has 0 auxiliary heads (task segmentation)',
    ),
    ({'aux_weights': [0.4]}, 'aux_weights: 1 given, the network has 0 auxiliary heads'),
    ({'best_task': 'car'}, 'best_task: car is no task of the network; its tasks are depth, '),
    ({'best_weights': [1]}, 'best_weights: 1 values for 3 tasks'),
    ({'best_task': 'depth', 'best_weights': [1, 1, 1]}, 'best_task, best_weights: both are set'),
    ({'test_depth_range': [80, 3]}, 'test_depth_range: must increase'),
    (
        {'depth_l1_weight': 0, 'depth_scale_weight': 0, 'depth_variance_weight': 0},
        'are all 0, so that a depth task learns nothing',
    ),
    ({'task_channels': [1, 3, 4]}, 'task_channels: 4 for motion, but the data set folder has 2'),
    ({'tasks': ['depth', 'segmentation', 'lanes']}, 'lanes'),
]


@pytest.mark.parametrize(('changes', 'message'), MISTAKES)
def test_mistakes_are_one_line_before_the_training(changes, message, scenes, tmp_path, capsys):
    line = TaskTraining(scenes, tmp_path, **changes).refused(capsys, 'run')
    assert message in line
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
    'keys',
    [
        {'task_weights': [1.0]},
        {'task_weighting': 'learned'},
        {'best_task': 'segmentation'},
        {'task_losses': {'segmentation': {}}},
    ],
)
def test_keys_of_tasks_need_tasks(keys, scenes, tmp_path, capsys):
    alone = {'tasks': None, 'task_channels': None, 'depth_range': None, 'inputs': None}
    line = TaskTraining(scenes, tmp_path, **alone, **keys).refused(capsys, 'run')
    assert f'{next(iter(keys))}: needs the key tasks' in line


def test_a_class_of_a_task_without_a_pixel(scenes, tmp_path, capsys, caplog):
    data = tmp_path / 'own'
    shutil.copytree(scenes, data)
    for path in (data / 'motion' / 'train').iterdir():
        cv2.imwrite(str(path), np.zeros((32, 64), np.uint8))
    training = TaskTraining(data, tmp_path, max_iter=1)
    line = training.refused(capsys, 'run')
    assert 'the split train shows 1 of 2 classes of motion (moving) in no pixel' in line
    training.whole('run', '--allow-missing-classes')
    assert 'classes of motion (moving) in no pixel; no network can learn them' in caplog.text


def test_targets_that_are_missing_or_unknown(scenes, tmp_path, capsys):
    data = tmp_path / 'own'
    shutil.copytree(scenes, data)
    training = TaskTraining(data, tmp_path)
    shutil.rmtree(data / 'depth' / 'train')
    assert 'depth' in training.refused(capsys, 'run')
    shutil.rmtree(data / 'depth')
    assert 'depth' in training.refused(capsys, 'run')
    shutil.copytree(scenes / 'depth', data / 'depth')
    for path in (data / 'depth' / 'val').iterdir():
        cv2.imwrite(str(path), np.zeros((32, 64), np.uint16))
    line = training.refused(capsys, 'run')
    assert 'the split val has no pixel of known depth in 3 files' in line


def test_a_loss_that_is_not_finite_names_its_task(scenes, tmp_path, capsys):
    training = TaskTraining(scenes, tmp_path, lr=1e30, max_iter=5, depth_range=None)
    line = training.refused(capsys, 'run')
    assert 'is not finite' in line
