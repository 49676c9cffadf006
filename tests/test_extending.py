"""Parts from outside of the project, one of each kind, through the three scripts."""

import json

import cv2
import numpy as np
import onnxruntime
import pytest
import yaml

import models
from models import weights
from support import mpi_jobs, programs

PARTS = ['--import', programs.PROJECT / 'tests' / 'support' / 'own_parts.py']
CONFIG = {
    'network': 'own_net',
    'own_width': 5,
    'dataset': 'own_shapes',
    'loss': 'own_loss',
    'own_gamma': 1.5,
    'augmentation': 'own_corner',
    'own_shift': 3,
    'image_height': 24,
    'image_width': 32,
    'batch_size': 2,
    'max_iter': 30,
    'save_interval': 15,
    'lr': 0.2,
}
WRITE_DATA = 'import own_parts, pathlib, sys; own_parts.write_data(pathlib.Path(sys.argv[1]))'


def succeed(*arguments, **options):
    process = programs.run(*arguments, **options)
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A folder with data, a config, and a run that has used every part."""
    folder = tmp_path_factory.mktemp('own')
    (folder / 'own.yaml').write_text(yaml.safe_dump(CONFIG))
    paths = f'{programs.PROJECT}:{programs.PROJECT / "tests"}'
    succeed('-c', WRITE_DATA, folder / 'data', PYTHONPATH=paths)
    options = ['-cfg', folder / 'own.yaml', '-d', folder / 'data', '-c', 'cpu']
    succeed('train.py', *PARTS, *options, '-o', folder / 'run', '--workers', 1)
    return folder


def scores(folder, backend):
    path = folder / f'{backend}.json'
    options = ['-cfg', folder / 'own.yaml', '-d', folder / 'data', '-m', folder / 'run/best.h5']
    printed = succeed(
        'evaluate.py', *PARTS, *options, '-c', 'cpu', '--backend', backend, '--json', path
    )
    assert 'square' in printed
    return json.loads(path.read_text())


def test_a_run_is_trained_with_all_of_them(trained):
    config = yaml.safe_load((trained / 'run' / 'config.yaml').read_text())
    assert config.items() >= CONFIG.items()
    arrays = weights.read(trained / 'run' / 'final.h5')
    assert arrays['layer/conv/conv/W'].shape == (5, 3, 3, 3)


def test_it_is_scored_by_the_backend(trained):
    own, reference = scores(trained, 'own_runtime'), scores(trained, 'nnabla')
    assert own['settings']['backend'] == 'own_runtime'
    assert own['settings']['dataset'] == 'own_shapes'
    assert own['miou'] == reference['miou'] > 0.5


def test_images_are_segmented(trained):
    image, labels = trained / 'data' / 'val' / '0.png', {}
    for backend in ('own_runtime', 'nnabla'):
        target = trained / f'{backend}.png'
        succeed(
            'infer.py', *PARTS, '-cfg', trained / 'own.yaml', '-m', trained / 'run/best.h5',
            '-i', image, '-o', target, '-c', 'cpu', '--backend', backend, '--save-labels',
        )  # fmt: skip
        labels[backend] = cv2.imread(str(trained / f'{backend}_labels.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(labels['own_runtime'], labels['nnabla'])
    assert len(np.unique(labels['nnabla'])) > 1


def test_a_run_goes_on_on_two_ranks(trained):
    folder = trained / 'two'
    options = [
        *PARTS, '-cfg', trained / 'own.yaml', '-d', trained / 'data', '-c', 'cpu', '-o', folder,
    ]  # fmt: skip
    for more in (['--set', 'max_iter=4'], ['--resume', '--allow-changes', '--set', 'max_iter=6']):
        process = mpi_jobs.run(2, 'train.py', *options, '--set', 'batch_size=1', *more)
        assert process.returncode == 0, process.stderr
    assert 'iteration 4' in (folder / 'train.log').read_text()
    assert weights.read(folder / 'final.h5').keys() == weights.read(trained / 'run/final.h5').keys()


def test_a_file_is_exported(trained):
    target = trained / 'own.onnx'
    printed = succeed(
        '-m', 'engine.export', *PARTS, '-cfg', trained / 'own.yaml', '-m', trained / 'run/best.h5',
        '-o', target, '--size', '32x48',
    )  # fmt: skip
    assert 'own.onnx written' in printed
    image = cv2.imread(str(trained / 'data' / 'val' / '0.png'))[..., ::-1]
    info = models.NetworkInfo(num_classes=3, size_divisor=2, paper='')
    x = (image.astype(np.float32) - info.mean) / info.std
    (logits,) = onnxruntime.InferenceSession(target).run(
        None, {'image': x.transpose(2, 0, 1)[None].astype(np.float32)}
    )
    truth = np.load(trained / 'data' / 'val' / '0.npy')
    assert np.mean(logits[0].argmax(axis=0)[truth < 255] == truth[truth < 255]) > 0.7


def test_the_data_is_checked_in_processes(trained):
    printed = succeed(
        '-m', 'datasets.prepare', 'own_shapes', *PARTS, '-d', trained / 'data', '--check',
        '--processes', 2,
    )  # fmt: skip
    assert 'ground' in printed


def test_their_keys_are_checked_and_described(trained):
    listed = succeed('-m', 'engine.config', *PARTS, '--reference')
    for key in ('own_width', 'own_gamma', 'own_shift'):
        assert f'  {key}: ' in listed
    process = programs.run(
        '-m', 'engine.config', *PARTS, '-cfg', trained / 'own.yaml', '--set', 'own_shift=5'
    )
    message = 'own_shift: must be at least 0 and at most 4, not 5'
    assert programs.error_line(process).startswith(f'error: {message}')


def test_without_the_module_they_are_unknown(trained):
    process = programs.run('train.py', '-cfg', trained / 'own.yaml', '-d', trained / 'data')
    assert "network: no network is called 'own_net'" in programs.error_line(process)
