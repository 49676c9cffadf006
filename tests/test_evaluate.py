"""evaluate.py as a user runs it, on real CamVid images."""

import json
import re
import shutil

import cv2
import numpy as np
import pytest

import datasets
from engine.evaluation import panels
from support import mpi_jobs, programs
from support.evaluate_runs import CAMVID, CUT_CAMVID, cut_camvid, refused, started
from support.tiny_config import tiny_camvid, write_tiny_config

PUBLISHED = {  # IoU of the weights, in float32 on the CPU
    'sky': 90.98, 'building': 73.71, 'pole': 28.26, 'road': 91.72, 'pavement': 72.08,
    'tree': 66.81, 'sign': 32.57, 'fence': 18.08, 'car': 70.75, 'pedestrian': 40.56,
    'bicyclist': 42.45,
}  # fmt: skip


def test_the_page_shows_the_published_scores():
    """Those of the classes, and their mean, which the README has, too."""
    table = (programs.PROJECT / 'docs' / 'evaluation.md').read_text().split('```')[3]
    rows = dict(re.findall(r'^(\w+) +(\d+\.\d+)', table, re.MULTILINE))
    ious = {name: float(iou) for name, iou in rows.items()}
    assert ious == pytest.approx(PUBLISHED, abs=0.011)  # rounded
    mean = re.search(r'^ +(\d+\.\d+)  mIoU$', table, re.MULTILINE)[1]
    assert float(mean) == pytest.approx(sum(PUBLISHED.values()) / len(PUBLISHED), abs=0.01)
    assert mean in (programs.PROJECT / 'README.md').read_text()


@pytest.fixture
def camvid(shared):
    """The whole CamVid data set."""
    return shared / 'data' / 'camvid'


@pytest.fixture
def small(camvid, tmp_path):
    """A small CamVid test set that the test can modify."""
    return cut_camvid(camvid, tmp_path / 'small')


def test_every_eighth_image_has_its_scores(camvid, tmp_path, monkeypatch):
    """Scores of 30 of the 233 images.

    They were recorded when all images together had the published scores, which the next test
    verifies; NNabla and OpenVINO gave the same numbers.
    """
    dataset = datasets.open('camvid', camvid, 'test')
    lines = [f'{s.image.relative_to(camvid)} {s.label.relative_to(camvid)}' for s in dataset][::8]
    (tmp_path / 'list.txt').write_text('\n'.join(lines))
    report = tmp_path / 'scores.json'
    options = [*CAMVID, '--backend', 'auto', '--list', tmp_path / 'list.txt', '--json', report]
    monkeypatch.setenv('NNSEG_CACHE', str(tmp_path / 'cache'))
    assert started('-d', camvid, *options) == 0
    scores = json.loads(report.read_text())
    assert scores['images'] == 30
    assert scores['miou'] == pytest.approx(57.0798, abs=0.02)
    assert scores['pixel_accuracy'] == pytest.approx(87.2878, abs=0.02)
    assert scores['mean_accuracy'] == pytest.approx(73.3936, abs=0.02)


@pytest.mark.long
@pytest.mark.whole_registry
@pytest.mark.parametrize('backend', ['auto', 'nnabla'])
def test_the_trained_model_has_its_published_scores(camvid, tmp_path, backend, monkeypatch):
    """Two processes share all 233 images."""
    report = tmp_path / 'scores.json'
    monkeypatch.setenv('NNSEG_CACHE', str(tmp_path / 'cache'))
    options = [*CAMVID, '--backend', backend, '--split', 'test', '--json', report]
    process = mpi_jobs.run(2, 'evaluate.py', '-d', camvid, *options)
    assert process.returncode == 0, process.stderr
    scores = json.loads(report.read_text())
    assert scores['images'] == 233
    assert scores['miou'] == pytest.approx(57.088, abs=0.01)
    assert scores['pixel_accuracy'] == pytest.approx(86.845, abs=0.05)
    assert scores['mean_accuracy'] == pytest.approx(72.026, abs=0.05)
    ious = {name: values['iou'] for name, values in scores['classes'].items()}
    assert ious == pytest.approx(PUBLISHED, abs=0.05)
    assert process.stdout.count('mean accuracy') == 1  # rank 0 alone prints the table


def test_the_number_of_processes_changes_no_bit(small, tmp_path):
    """Scores and all written files are identical."""
    options = ['-d', small, *CUT_CAMVID, '--split', 'test', '--boundary', '--flip', '--limit', '3']
    one, two = tmp_path / 'one', tmp_path / 'two'

    def outputs(folder):
        return [
            '--json', folder / 'scores.json', '--save-labels', folder / 'labels',
            '--visualize', folder / 'pictures', '--worst', '2', '--per-image', folder / 'a.csv',
            '--confusion', folder / 'matrix.png',
        ]  # fmt: skip

    assert started(*options, *outputs(one)) == 0
    process = mpi_jobs.run(2, 'evaluate.py', *options, *outputs(two))
    assert process.returncode == 0, process.stderr
    assert process.stdout.count('mean accuracy') == 1  # rank 0 alone prints the table
    assert process.stdout.count('(sha256 daa3ec2d202b), camvid test, 3 images, flip, nnabla') == 1
    assert process.stdout.count('left out') <= 1
    assert process.stdout.count(f'{two / "labels"} written (3 label maps)') == 1
    written = sorted(path.relative_to(one) for path in one.rglob('*.*'))
    assert len(written) == 10
    assert written == sorted(path.relative_to(two) for path in two.rglob('*.*'))
    for name in written:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_every_backend_has_the_same_labels_and_scores(small, tmp_path, monkeypatch):
    """Rounding errors may change the labels of a few pixels on the borders of classes."""
    reports, labels = {}, {}
    monkeypatch.setenv('NNSEG_CACHE', str(tmp_path / 'cache'))
    for backend in ('nnabla', 'openvino', 'onnxruntime', 'auto'):
        folder = tmp_path / backend
        options = ['--split', 'test', '--json', folder / 'scores.json', '--save-labels', folder]
        assert started('-d', small, *CUT_CAMVID, '--backend', backend, *options) == 0
        reports[backend] = json.loads((folder / 'scores.json').read_text())
        paths = sorted(folder.rglob('*.png'))
        labels[backend] = np.stack([cv2.imread(str(p), cv2.IMREAD_UNCHANGED) for p in paths])
        assert reports[backend]['settings']['precision'] == 'float32'
    expected, expected_labels = reports['nnabla'], labels['nnabla']
    counts = np.bincount(expected_labels.ravel(), minlength=11)
    assert (counts > 100).sum() >= 5, counts
    for backend, report in reports.items():
        assert (labels[backend] != expected_labels).mean() < 1e-3
        assert report['pixel_accuracy'] == pytest.approx(expected['pixel_accuracy'], abs=0.01)
        assert report['miou'] == pytest.approx(expected['miou'], abs=0.01)
        used = {'auto': 'openvino'}.get(backend, backend)
        assert report['settings']['backend'] == used


@programs.needs_nncf
def test_the_report_names_the_calibration_of_eight_bits(small, tmp_path):
    """By default the images are the training images of the data set."""
    shutil.copytree(small / 'test', small / 'train')
    shutil.copytree(small / 'testannot', small / 'trainannot')
    (small / 'train' / sorted((small / 'train').iterdir())[0].name).unlink()
    config = write_tiny_config(tmp_path, 'camvid', 11)
    options = ['-d', small, '-cfg', config, '-c', 'cpu', '--split', 'test', '--limit', '1']
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


def test_the_report_and_all_written_files(small, tmp_path, capsys):
    folders = {name: tmp_path / name for name in ('pictures', 'labels')}
    status = started(
        '-d', small, *CUT_CAMVID, '--limit', '3', '--json', tmp_path / 'a.json',
        '--set', 'lr=0.1', '--visualize', folders['pictures'], '--save-labels', folders['labels'],
    )  # fmt: skip
    assert status == 0
    table = capsys.readouterr().out
    assert table.splitlines()[-3:] == [
        f'{folders["pictures"]} written (3 pictures)',
        f'{folders["labels"]} written (3 label maps)',
        f'{tmp_path / "a.json"} written (scores)',
    ]
    scores = json.loads((tmp_path / 'a.json').read_text())
    assert scores['images'] == 3
    assert f'{scores["miou"]:.2f}' in table
    assert {'miou', 'mean_accuracy', 'pixel_accuracy', 'fwiou', 'classes'} <= set(scores)
    assert set(scores['classes']['sky']) == {'iou', 'accuracy', 'share', 'precision', 'f1'}
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
    assert scores['confusion_matrix'] == matrix.tolist()
    picture = cv2.imread(str(sorted(folders['pictures'].rglob('*.png'))[0]))
    image, top, left = dataset.image(0), panels.CAPTION_HEIGHT, panels.GAP
    assert np.array_equal(picture[top : top + 90, left : left + 120], image)
    error = picture[2 * top + 90 + left :, 2 * left + 120 :][:90, :120]
    wrong = dataset.label(0) != cv2.imread(str(sorted(folders['labels'].rglob('*.png'))[0]), -1)
    wrong &= dataset.label(0) != 255
    assert np.array_equal((error == (0, 0, 220)).all(-1), wrong)


def test_a_users_own_data_set_needs_no_code(small, tmp_path, capsys):
    """The same images and labels in a folder with a YAML file of classes have the same scores."""
    own = tmp_path / 'own'
    (own / 'images').mkdir(parents=True)
    shutil.copytree(small / 'test', own / 'images' / 'val')
    shutil.copytree(small / 'testannot', own / 'labels' / 'val')
    names = [f'{name}: [{i}, {i}, 7]' for i, name in enumerate(PUBLISHED)]
    (own / 'dataset.yaml').write_text(f'classes: {{{", ".join(names)}}}\nignore: [11]\n')
    options = ['--set', 'dataset=folder', '--split', 'val', '--json', tmp_path / 'own.json']
    assert started('-d', own, *tiny_camvid(), *options) == 0
    camvid = ['-d', small, *tiny_camvid(), '--split', 'test', '--json', tmp_path / 'camvid.json']
    assert started(*camvid) == 0
    own, camvid = (json.loads((tmp_path / f'{n}.json').read_text()) for n in ('own', 'camvid'))
    assert own['classes'] == camvid['classes']
    assert own['settings']['dataset'] == 'folder'


def test_files_for_the_test_server_have_official_names_and_ids(shared, tmp_path, capsys):
    """Cityscapes has 34 ids for 19 training classes; labels are not required."""
    config = write_tiny_config(tmp_path, 'cityscapes', 19)
    root = tmp_path / 'cityscapes'
    source = shared / 'data' / 'samples' / 'cityscapes_256x128' / 'leftImg8bit' / 'val'
    shutil.copytree(source, root / 'leftImg8bit' / 'test')
    options = ['-d', root, '-cfg', config, '-c', 'cpu', '--backend', 'nnabla', '--split', 'test']
    assert 'so the split test cannot be scored; --format-only' in refused(capsys, *options)
    out = tmp_path / 'out'
    plain = tmp_path / 'plain'
    assert started(*options, '--format-only', out, '--save-labels', plain) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed == [f'{plain} written (1 label map)', f'{out} written (1 file)']
    (written,) = out.rglob('*.png')
    (indices,) = plain.rglob('*.png')
    assert written.name.startswith('frankfurt_000000_000294')
    ids, classes = (cv2.imread(str(p), cv2.IMREAD_UNCHANGED) for p in (written, indices))
    from cityscapesscripts.helpers.labels import trainId2label

    to_id = np.array([trainId2label[i].id for i in range(19)], np.uint8)
    assert ids.shape == (128, 256)
    assert np.array_equal(ids, to_id[classes])
    shutil.copytree(source, root / 'leftImg8bit' / 'val')  # the labels of this split are elsewhere
    assert started(*options[:-1], 'val', '--format-only', tmp_path / 'val') == 0
    assert len(list((tmp_path / 'val').rglob('*.png'))) == 1
