"""evaluate.py with several tasks: scores, files of every kind, and several processes."""

import csv
import json

import cv2
import numpy as np
import pytest

from common import once
from common.sections import SectionError
from datasets import depth_files
from engine.evaluation import depth_metrics, metrics, score_keys
from engine.evaluation.evaluator import Evaluator
from engine.evaluation.score_keys import ScoreKeys
from support import evaluate_runs, mpi_jobs, task_runs
from support.mpi_training import SCENE_TASKS
from support.task_runs import IMPORT, NAMES, TASKS, TaskTraining


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A data set and the folder of a run on it."""
    folder = tmp_path_factory.mktemp('trained')
    data = task_runs.write_data(folder / 'own')
    return data, TaskTraining(data, folder, '--no-validation', max_iter=20).whole('run')


@pytest.fixture(scope='module')
def evaluated(trained, tmp_path_factory):
    """A folder with all files of an evaluation of the training split."""
    data, run = trained
    folder = tmp_path_factory.mktemp('evaluated')
    assert evaluate_runs.started(*arguments(data, run, folder)) == 0
    return folder


def arguments(data, run, folder):
    """Return the options of evaluate.py that write every file."""
    return [
        '-d', data, '-cfg', run, '-c', 'cpu', '--backend', 'nnabla', '--split', 'train',
        '--boundary', '--json', folder / 'scores.json', '--per-image', folder / 'images.csv',
        '--visualize', folder / 'seen', '--worst', 2, '--save-labels', folder / 'maps',
        '--confusion', folder / 'matrix.png',
    ]  # fmt: skip


def report_in(folder):
    return json.loads((folder / 'scores.json').read_text())


def maps_of(trained, folder, name):
    """Return targets and written predictions of an image by task."""
    data, _ = trained
    found = {'depth': (depth_files.read(data / f'depth/train/{name}.png'), None)}
    found['depth'] = found['depth'][0], depth_files.read(folder / f'maps/depth/{name}.png')
    for task, path in (('segmentation', 'labels'), ('motion', 'motion')):
        suffix = '_m' if task == 'motion' else ''
        labels = cv2.imread(str(data / f'{path}/train/{name}{suffix}.png'), cv2.IMREAD_GRAYSCALE)
        if task == 'motion':
            labels[labels == 128] = 255
        predicted = cv2.imread(str(folder / f'maps/{task}/{name}.png'), cv2.IMREAD_GRAYSCALE)
        found[task] = labels, predicted
    return found


def test_scores_are_those_of_the_written_maps(trained, evaluated):
    """Depth in files has steps of 4 mm."""
    report = report_in(evaluated)
    assert list(report['tasks']) == TASKS
    assert report['images'] == len(NAMES)
    pairs = [maps_of(trained, evaluated, name) for name in NAMES]
    sums = depth_metrics.total([depth_metrics.image_sums(*pair['depth']) for pair in pairs])
    assert report['tasks']['depth']['ard'] == pytest.approx(
        100 * depth_metrics.scores(sums).ard, rel=1e-3
    )
    for task, classes in (('segmentation', 3), ('motion', 2)):
        matrix = sum(metrics.confusion_matrix(*pair[task], classes) for pair in pairs)
        own = report['tasks'][task]
        assert own['confusion_matrix'] == matrix.tolist()
        assert own['miou'] == pytest.approx(100 * metrics.scores(matrix).miou)
        assert own['boundary_miou'] is not None
        assert list(own['classes']) == [['road', 'car', 'sky'], ['static', 'moving']][classes == 2]
    settings = report['settings']
    assert settings['split'] == 'train'
    assert settings['sha256']


def test_the_table_of_images(trained, evaluated):
    with open(evaluated / 'images.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert sorted(row['name'] for row in rows) == sorted(NAMES)
    scores = [float(row['score']) for row in rows]
    assert scores == sorted(scores)
    for row in rows:
        pair = maps_of(trained, evaluated, row['name'])
        ard = 100 * depth_metrics.scores(depth_metrics.image_sums(*pair['depth'])).ard
        assert float(row['depth ard']) == pytest.approx(ard, rel=1e-2)
        motion = metrics.scores(metrics.confusion_matrix(*pair['motion'], 2))
        assert float(row['motion miou']) == pytest.approx(100 * motion.miou, abs=1e-3)
        assert float(row['motion iou moving']) == pytest.approx(100 * motion.iou[1], abs=1e-3)
        expected = [100 - float(row['depth ard'])]
        expected += [float(row[f'{task} miou']) for task in ('segmentation', 'motion')]
        assert float(row['score']) == pytest.approx(np.mean(expected), abs=1e-3)


def test_pictures_of_every_task(evaluated):
    names = {path.stem for path in (evaluated / 'seen').iterdir()}
    assert names == {*NAMES, 'worst_images'}
    picture = cv2.imread(str(evaluated / 'seen' / 'a.png'))
    assert picture.shape[0] == 3 * (32 + 24 + 8)  # a row for each task, with caption and gap
    for task in ('segmentation', 'motion'):
        assert (evaluated / f'matrix_{task}.png').exists()


def test_several_processes_score_as_one(trained, evaluated, tmp_path):
    """To the last digit, in every number that is written."""
    data, run = trained
    options = [*IMPORT, *arguments(data, run, tmp_path)]
    job = mpi_jobs.run(2, 'evaluate.py', *options, OMP_NUM_THREADS='1')
    assert job.returncode == 0, job.stderr
    one, two = report_in(evaluated), report_in(tmp_path)
    assert two['tasks'] == one['tasks']
    assert two['score'] == one['score']
    assert (tmp_path / 'images.csv').read_text() == (evaluated / 'images.csv').read_text()
    assert (tmp_path / 'seen' / 'worst_images.png').read_bytes() == (
        evaluated / 'seen' / 'worst_images.png'
    ).read_bytes()


@pytest.mark.parametrize('tasks', [TASKS, None], ids=['three tasks', 'labels alone'])
def test_images_far_from_the_size_of_the_training_are_reported(tasks, trained, tmp_path, caplog):
    """As for networks of one picture and one task."""
    data, run = trained
    if tasks is None:
        keys = {'tasks': None, 'task_channels': None, 'depth_range': None}
        run = TaskTraining(data, tmp_path, '--no-validation', max_iter=1, **keys).whole('run')
    options = ['-d', data, '-cfg', run, '-c', 'cpu', '--backend', 'nnabla', '--split', 'val']
    for size, lines in (('[160, 320]', 1), ('[32, 64]', 0)):
        once.reset()
        caplog.clear()
        assert evaluate_runs.started(*options, '--set', f'trained_size={size}') == 0
        found = [message for message in caplog.messages if 'so classes may be wrong' in message]
        assert len(found) == lines
        assert all('64x32, 0.04 times the area of the 320x160' in line for line in found)


def test_the_printed_table(trained, capsys):
    data, run = trained
    options = ['-d', data, '-cfg', run, '-c', 'cpu', '--backend', 'nnabla', '--split', 'val']
    assert evaluate_runs.started(*options, '--set', 'test_depth_range=[5, 20]') == 0
    out = capsys.readouterr().out
    for text in ('\nmotion\n', 'mIoU', 'absolute relative difference (ARD), %', '(5 to 20 m)'):
        assert text in f'\n{out}'


def test_what_cannot_be_written_is_refused(trained, tmp_path, capsys):
    data, run = trained
    options = ['-d', data, '-cfg', run, '-c', 'cpu', '--split', 'val']
    line = evaluate_runs.refused(capsys, *options, '--set', 'best_task=lanes')
    assert 'best_task: lanes is no task of the network' in line
    line = evaluate_runs.refused(capsys, *options, '--format-only', tmp_path / 'x')
    assert 'has no test server' in line


@pytest.mark.parametrize(
    'changes',
    [
        {'tasks': ['depth'], 'task_channels': None},
        {'tasks': None, 'task_channels': None, 'depth_range': None},
    ],
    ids=['depth alone', 'two pictures, one task'],
)
def test_networks_of_one_task(changes, trained, tmp_path, capsys):
    data, _ = trained
    run = TaskTraining(data, tmp_path, '--no-validation', max_iter=1, **changes).whole('run')
    options = arguments(data, run, tmp_path)
    if changes['tasks']:
        assert '--boundary: no task has classes' in evaluate_runs.refused(capsys, *options)
        options.remove('--boundary')
        assert '--confusion: no task has classes' in evaluate_runs.refused(capsys, *options)
        options = options[: options.index('--confusion')]
    assert evaluate_runs.started(*options) == 0
    report = report_in(tmp_path)
    assert list(report.get('tasks', ['labels'])) == (changes['tasks'] or ['labels'])
    assert report['images'] == len(NAMES)
    assert (tmp_path / 'seen' / 'worst_images.png').exists()


def test_a_task_without_targets_is_named(trained, tmp_path, capsys):
    data, run = trained
    folder = tmp_path / 'own'
    task_runs.write_data(folder)
    for path in (folder / 'motion' / 'val').iterdir():
        path.unlink()
    options = ['-d', folder, '-cfg', run, '-c', 'cpu', '--split', 'val']
    assert 'motion' in evaluate_runs.refused(capsys, *options)


@pytest.mark.parametrize(
    ('keys', 'expected'),
    [
        ({}, (90 + 50 + 70) / 3),
        ({'best_task': 'motion'}, 70),
        ({'best_weights': [3, 1, 0]}, (3 * 90 + 50) / 4),
    ],
)
def test_the_score_of_all_tasks(keys, expected):
    weights = ScoreKeys(**keys).weights_of(SCENE_TASKS)
    scores = {
        'depth': score_keys.task_score('depth', {'ard': 10.0}),
        'segmentation': score_keys.task_score('classes', {'miou': 50.0}),
        'motion': 70.0,
    }
    assert score_keys.combined(scores, weights) == pytest.approx(expected)
    without = score_keys.combined({**scores, 'segmentation': None}, weights)
    known = {name: weight for name, weight in weights.items() if name != 'segmentation'}
    mean = sum(scores[name] * weight for name, weight in known.items()) / sum(known.values())
    assert without == pytest.approx(mean)
    assert score_keys.combined(dict.fromkeys(scores), weights) is None


def test_scores_of_class_tasks_equal_the_original(shared):
    """Of two batches, all of whose classes occur, so that absent classes make no difference."""
    path = shared / 'reference_tasks' / 'losses_metrics.json'
    for case in json.loads(path.read_text())['segmentation']['cases'].values():
        n, classes, height, width = case['shape']
        rng = np.random.RandomState(case['seed'])
        logits = (rng.randn(*case['shape']) * 2).astype(np.float32)
        labels = rng.randint(0, classes, (n, 1, height, width))
        labels[rng.rand(n, 1, height, width) < 0.15] = 255
        assert labels.ravel()[:12].tolist() == case['check']['labels_first12']
        counts = Evaluator(classes)
        known = case['segmentation_metrics']
        expected = [known['MeanIoU_of_the_argmax_of_the_logits']]
        expected.append(known['after_adding_the_logits_of_the_reversed_batch']['MeanIoU'])
        for batch, mean in zip((logits, logits[::-1]), expected):
            for label, scores in zip(labels, batch):
                counts.process(label[0].astype(np.uint8), scores.argmax(0).astype(np.uint8))
            assert 100 * metrics.scores(counts.matrix).miou == pytest.approx(mean, rel=1e-5)
        assert known['confusion_matrix_rows_are_labels'] == counts.matrix.tolist()


def test_a_range_of_depths_needs_a_depth_task():
    with pytest.raises(SectionError, match='test_depth_range: none of the tasks segmentation, mot'):
        ScoreKeys(test_depth_range=(0, 80)).weights_of(SCENE_TASKS[1:])
