"""evaluate.py as a user types it, on the real CamVid test images."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import nnabla as nn
import numpy as np
import pytest
import yaml

import datasets
import evaluate
import models
from common.command import run_command
from common.errors import UserError
from engine import evaluation
from engine.backends.settings import BackendSettings
from engine.config.settings import ConfigSettings
from engine.device.settings import DeviceSettings
from engine.evaluation import EvaluationSettings
from engine.inference import ProtocolSettings
from models import weights
from support import programs, stand_ins

CAMVID = ['-cfg', 'configs/D3Net_T_camvid.yaml', '-c', 'cpu', '--backend', 'nnabla']
PUBLISHED = {  # of the weights, in float32 on the CPU
    'sky': 90.98, 'building': 73.71, 'pole': 28.26, 'road': 91.72, 'pavement': 72.08,
    'tree': 66.81, 'sign': 32.57, 'fence': 18.08, 'car': 70.75, 'pedestrian': 40.56,
    'bicyclist': 42.45,
}  # fmt: skip


@pytest.fixture
def camvid(shared):
    return shared / 'data' / 'camvid'


@pytest.fixture
def small(camvid, tmp_path):
    """A CamVid test set of four images, cut to 120x90, that a test may spoil."""
    for folder in ('test', 'testannot'):
        (tmp_path / 'small' / folder).mkdir(parents=True)
        for path in sorted((camvid / folder).iterdir())[:4]:
            image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[180:270, 200:320]
            cv2.imwrite(str(tmp_path / 'small' / folder / path.name), image)
    return tmp_path / 'small'


def started(*arguments):
    nn.clear_parameters()
    return run_command(evaluate.build_parser, evaluate.main, [str(a) for a in arguments])


def mpirun(processes, *arguments):
    """Run a program of the project in an MPI job; returns the finished process."""
    return subprocess.run(
        [Path(sys.executable).parent / 'mpirun', '-n', str(processes), '--allow-run-as-root',
         '--oversubscribe', sys.executable, *map(str, arguments)],
        cwd=programs.PROJECT, capture_output=True, text=True, timeout=280,
    )  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize(
    'backend', ['auto', pytest.param('nnabla', marks=pytest.mark.whole_registry)]
)
def test_the_trained_model_has_its_published_scores(camvid, tmp_path, backend, monkeypatch):
    """All 233 images, shared by two processes."""
    report = tmp_path / 'scores.json'
    monkeypatch.setenv('NNSEG_CACHE', str(tmp_path / 'cache'))
    options = [*CAMVID, '--backend', backend, '--split', 'test', '--json', report]
    process = mpirun(2, 'evaluate.py', '-d', camvid, *options)
    assert process.returncode == 0, process.stderr
    scores = json.loads(report.read_text())
    assert scores['images'] == 233
    assert scores['miou'] == pytest.approx(57.088, abs=0.01)
    assert scores['pixel_accuracy'] == pytest.approx(86.845, abs=0.05)
    assert scores['mean_accuracy'] == pytest.approx(72.026, abs=0.05)
    ious = {name: values['iou'] for name, values in scores['classes'].items()}
    assert ious == pytest.approx(PUBLISHED, abs=0.05)
    assert process.stdout.count('mean accuracy') == 1  # one table, not one a process


def test_processes_change_no_bit(small, tmp_path):
    """Neither of the scores nor of what is written for every image."""
    options = ['-d', small, *CAMVID, '--split', 'test', '--boundary', '--flip']
    one, three = tmp_path / 'one', tmp_path / 'three'

    def outputs(folder):
        return [
            '--json', folder / 'scores.json', '--save-labels', folder / 'labels',
            '--visualize', folder / 'pictures',
        ]  # fmt: skip

    assert started(*options, *outputs(one)) == 0
    process = mpirun(3, 'evaluate.py', *options, *outputs(three))
    assert process.returncode == 0, process.stderr
    assert process.stdout.count('left out') <= 1
    written = sorted(path.relative_to(one) for path in one.rglob('*.*'))
    assert len(written) == 9
    assert written == sorted(path.relative_to(three) for path in three.rglob('*.*'))
    for name in written:
        assert (one / name).read_bytes() == (three / name).read_bytes(), name


def test_every_backend_has_the_same_scores(small, tmp_path, monkeypatch):
    monkeypatch.setenv('NNSEG_CACHE', str(tmp_path / 'cache'))
    reports = {}
    for backend in ('nnabla', 'openvino', 'onnxruntime', 'auto'):
        options = ['--split', 'test', '--json', tmp_path / f'{backend}.json']
        assert started('-d', small, *CAMVID, '--backend', backend, *options) == 0
        reports[backend] = json.loads((tmp_path / f'{backend}.json').read_text())
        assert reports[backend]['settings']['precision'] == 'float32'
    expected = reports['nnabla']['pixel_accuracy']
    for backend, report in reports.items():
        assert report['pixel_accuracy'] == pytest.approx(expected, abs=0.01)
        used = {'auto': 'openvino'}.get(backend, backend)
        assert report['settings']['backend'] == used


def test_the_report_says_how_eight_bits_were_found(small, tmp_path):
    """The calibration's images, by default the training images of the data set, and the threads."""
    pytest.importorskip('nncf')
    shutil.copytree(small / 'test', small / 'train')
    shutil.copytree(small / 'testannot', small / 'trainannot')
    (small / 'train' / sorted((small / 'train').iterdir())[0].name).unlink()
    options = ['-d', small, *CAMVID[:-1], 'auto', '--split', 'test', '--limit', '1']
    options += ['--precision', 'int8', '--threads', '2', '--set', 'train_split=train']
    found = {}
    for name, images in (('own', []), ('folder', ['--calibration', small / 'test'])):
        path = tmp_path / f'{name}.json'
        assert started(*options, *images, '--json', path) == 0
        settings = json.loads(path.read_text())['settings']
        assert (settings['backend'], settings['threads']) == ('openvino', 2)
        found[name] = settings['calibration']
        assert len(found[name].pop('sha256')) == 64
    assert found['own'] == {'source': 'camvid train', 'images': 3}
    assert found['folder'] == {'source': str(small / 'test'), 'images': 4}


def test_the_report_and_everything_that_is_written(small, tmp_path, capsys):
    folders = {name: tmp_path / name for name in ('pictures', 'labels')}
    status = started(
        '-d', small, *CAMVID, '--limit', '3', '--json', tmp_path / 'a.json', '--set', 'lr=0.1',
        '--visualize', folders['pictures'], '--save-labels', folders['labels'],
    )  # fmt: skip
    assert status == 0
    table = capsys.readouterr().out
    scores = json.loads((tmp_path / 'a.json').read_text())
    assert scores['images'] == 3
    assert f'{scores["miou"]:.2f}' in table
    assert {'miou', 'mean_accuracy', 'pixel_accuracy', 'fwiou', 'classes'} <= set(scores)
    assert set(scores['classes']['sky']) == {'iou', 'accuracy', 'share'}
    settings = scores['settings']
    assert (settings['split'], settings['limit'], settings['context']) == ('test', 3, 'cpu')
    assert settings['overrides'] == ['lr=0.1']
    assert (settings['threads'], settings['calibration']) == (1, None)
    assert len(settings['sha256']) == 64
    assert scores['versions']['nnabla']

    dataset = datasets.open('camvid', small, 'test')
    matrix = np.zeros((11, 11), int)
    for index, path in enumerate(sorted(folders['labels'].rglob('*.png'))):
        predictions, labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED), dataset.label(index)
        for true, predicted in zip(labels.ravel(), predictions.ravel()):
            if true != 255:
                matrix[true, predicted] += 1
    right = np.trace(matrix) / matrix.sum()
    assert scores['pixel_accuracy'] == pytest.approx(100 * right)
    picture = cv2.imread(str(sorted(folders['pictures'].rglob('*.png'))[0]))
    assert picture.shape == (180, 240, 3)
    image = dataset.image(0)
    assert np.array_equal(picture[:90, :120], image)
    error = picture[90:, 120:]
    wrong = dataset.label(0) != cv2.imread(str(sorted(folders['labels'].rglob('*.png'))[0]), -1)
    wrong &= dataset.label(0) != 255
    assert np.array_equal((error == (0, 0, 220)).all(-1), wrong)


def test_settings_made_in_python_are_those_of_the_command(small, tmp_path, monkeypatch):
    """No parser: the same files to the last bit; and one network each."""
    made, create = [], models.create
    monkeypatch.setattr(models, 'create', lambda config: made.append(create(config)) or made[-1])
    typed = [
        '-d', small, *CAMVID, '--split', 'test', '--limit', '2', '--boundary', '--flip',
        '--short-sides', '80', '--json', tmp_path / 'command.json', '--set', 'lr=0.1',
        '--save-labels', tmp_path / 'command', '--visualize', tmp_path / 'command_pictures',
    ]  # fmt: skip
    assert started(*typed) == 0
    nn.clear_parameters()
    settings = EvaluationSettings(
        data_dir=str(small),
        split='test',
        limit=2,
        boundary=True,
        json=tmp_path / 'python.json',
        visualize=tmp_path / 'python_pictures',
        save_labels=tmp_path / 'python',
        config=ConfigSettings('configs/D3Net_T_camvid.yaml', ('lr=0.1',)),
        device=DeviceSettings('cpu'),
        backend=BackendSettings('nnabla'),
        protocol=ProtocolSettings(short_sides=(80,), flip=True),
    )
    assert evaluation.evaluate(settings) == 0
    assert len(made) == 2
    assert (tmp_path / 'python.json').read_text() == (tmp_path / 'command.json').read_text()
    for kind in ('', '_pictures'):
        paths = sorted((tmp_path / f'command{kind}').rglob('*.png'))
        assert len(paths) == 2
        for path in paths:
            own = tmp_path / f'python{kind}' / path.relative_to(tmp_path / f'command{kind}')
            assert own.read_bytes() == path.read_bytes()


def test_settings_that_contradict_each_other():
    for words, message in (
        ({'limit': 0}, '--limit must be at least 1, not 0'),
        ({'format_only': Path('x'), 'boundary': True}, 'leave out --boundary'),
    ):
        with pytest.raises(UserError, match=message):
            EvaluationSettings(**words)


def refused(capsys, *arguments):
    assert started(*arguments) == 2
    errors = [e for e in capsys.readouterr().err.splitlines() if e.startswith('error: ')]
    assert len(errors) == 1
    return errors[0]


def test_bad_data_is_found_before_the_first_prediction(small, tmp_path, capsys):
    options = ['-d', small, *CAMVID, '--split', 'test', '--save-labels', tmp_path / 'out']
    last_label = sorted((small / 'testannot').iterdir())[-1]
    last_image = small / 'test' / last_label.name
    good_label, good_image = last_label.read_bytes(), last_image.read_bytes()
    out_of_range = np.full((90, 120), 12, np.uint8)
    for label, message in (
        (cv2.imencode('.png', out_of_range)[1].tobytes(), 'holds the values 12'),
        (good_label[: len(good_label) // 2], last_label.name),
        (cv2.imencode('.png', out_of_range[:50] * 0)[1].tobytes(), '120x50'),
    ):
        last_label.write_bytes(label)
        line = refused(capsys, *options)
        assert message in line
        assert str(last_label) in line
        assert not list((tmp_path / 'out').rglob('*.png'))
    last_label.unlink()
    assert last_label.stem in refused(capsys, *options)
    last_label.write_bytes(good_label)
    last_image.write_bytes(good_image[:3000])
    assert str(last_image) in refused(capsys, *options)


def test_roots_splits_and_options_that_cannot_be_used(small, shared, tmp_path, capsys):
    (tmp_path / 'nothing').mkdir()
    cityscapes = shared / 'data' / 'samples' / 'cityscapes'
    for options, message in (
        (['-d', tmp_path / 'none'], 'none'),
        (['-d', tmp_path / 'nothing'], 'nothing'),
        (['-d', cityscapes], str(cityscapes)),
        (['-d', small, '--split', 'trian'], "no split 'trian'"),
        (['-d', small, '--limit', '0'], '--limit must be at least 1'),
        (['-d', small, '--format-only', tmp_path / 'x'], 'has no test server'),
        (['-d', small, '--format-only', 'x', '--json', 'y'], 'leave out --json'),
        (['-d', small, '--json', '/proc/x.json'], 'cannot be written'),
        (['-d', small, '--set', 'dataset='], 'dataset.yaml'),
        (['-d', small, '--set', 'dataset=voc'], '21 entries for num_classes 11'),
    ):
        assert message in refused(capsys, *CAMVID, '--split', 'test', *options)


def test_results_never_overwrite_the_data_or_each_other(small, tmp_path, capsys):
    options = ['-d', small, *CAMVID, '--split', 'test']
    labels = {p.name: p.read_bytes() for p in (small / 'testannot').iterdir()}
    line = refused(capsys, *options, '--save-labels', small / 'testannot')
    assert 'would be overwritten' in line
    assert labels == {p.name: p.read_bytes() for p in (small / 'testannot').iterdir()}
    both = ['--save-labels', tmp_path / 'same', '--visualize', tmp_path / 'same']
    assert 'would be overwritten' in refused(capsys, *options, *both)
    assert 'is a folder; name a file' in refused(capsys, *options, '--json', tmp_path)


def test_data_of_ones_own_needs_no_code(small, tmp_path, capsys):
    """The same images and labels in a folder with a YAML of classes; the same scores."""
    own = tmp_path / 'own'
    (own / 'images').mkdir(parents=True)
    shutil.copytree(small / 'test', own / 'images' / 'val')
    shutil.copytree(small / 'testannot', own / 'labels' / 'val')
    names = [f'{name}: [{i}, {i}, 7]' for i, name in enumerate(PUBLISHED)]
    (own / 'dataset.yaml').write_text(f'classes: {{{", ".join(names)}}}\nignore: [11]\n')
    options = ['--set', 'dataset=folder', '--split', 'val', '--json', tmp_path / 'own.json']
    assert started('-d', own, *CAMVID, *options) == 0
    camvid = ['-d', small, *CAMVID, '--split', 'test', '--json', tmp_path / 'camvid.json']
    assert started(*camvid) == 0
    own, camvid = (json.loads((tmp_path / f'{n}.json').read_text()) for n in ('own', 'camvid'))
    assert own['classes'] == camvid['classes']
    assert own['settings']['dataset'] == 'folder'


def test_a_mistake_under_mpirun_is_told_once_and_ends_the_job(small):
    last = sorted((small / 'testannot').iterdir())[-1]
    shutil.copy(programs.PROJECT / 'resources' / 'street.jpg', last)
    process = mpirun(2, 'evaluate.py', '--bogus')
    assert process.returncode != 0
    assert process.stderr.count('error: unrecognized arguments') == 1
    process = mpirun(2, 'evaluate.py', '-d', small, *CAMVID, '--split', 'test')
    assert process.returncode != 0
    errors = [e for e in process.stderr.splitlines() if e.startswith('error: ')]
    assert len(errors) == 1
    assert last.name in errors[0]
    assert 'Traceback' not in process.stderr


def test_files_for_the_test_server_have_official_names_and_ids(shared, tmp_path, capsys):
    """Cityscapes: 34 ids instead of 19 training classes; no labels are needed."""
    network = stand_ins.tiny(num_classes=19)
    network(nn.Variable((1, 3, 32, 32)))
    stand_ins.randomize_parameters()
    weights.save(tmp_path / 'tiny.h5')
    keys = {**stand_ins.TINY, 'num_classes': 19, 'dataset': 'cityscapes', 'weights': 'tiny.h5'}
    (tmp_path / 'tiny.yaml').write_text(yaml.safe_dump(keys))
    root = tmp_path / 'cityscapes'
    source = shared / 'data' / 'samples' / 'cityscapes_256x128' / 'leftImg8bit' / 'val'
    shutil.copytree(source, root / 'leftImg8bit' / 'test')
    options = ['-d', root, '-cfg', tmp_path / 'tiny.yaml', '-c', 'cpu', '--split', 'test']
    assert 'so the split test cannot be scored; --format-only' in refused(capsys, *options)
    out = tmp_path / 'out'
    plain = tmp_path / 'plain'
    assert started(*options, '--format-only', out, '--save-labels', plain) == 0
    (written,) = out.rglob('*.png')
    (indices,) = plain.rglob('*.png')
    assert written.name.startswith('frankfurt_000000_000294')
    ids, classes = (cv2.imread(str(p), cv2.IMREAD_UNCHANGED) for p in (written, indices))
    from cityscapesscripts.seeded.labels import trainId2label

    to_id = np.array([trainId2label[i].id for i in range(19)], np.uint8)
    assert ids.shape == (128, 256)
    assert np.array_equal(ids, to_id[classes])
    shutil.copytree(source, root / 'leftImg8bit' / 'val')  # a split that has labels elsewhere
    assert started(*options[:-1], 'val', '--format-only', tmp_path / 'val') == 0
    assert len(list((tmp_path / 'val').rglob('*.png'))) == 1
