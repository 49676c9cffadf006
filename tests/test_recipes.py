"""docs/extending.md: its five parts join a copy of the project, as the page says.

The tests of the documents use them as files of a user's own.
"""

import json
import re
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
import yaml

from support import programs

COPIED = (
    'common', 'configs', 'd3net', 'datasets', 'engine', 'evaluate.py', 'infer.py', 'layers',
    'models', 'pyproject.toml', 'resources', 'tests/conftest.py', 'tests/docs', 'tests/support',
    'train.py',
    'tests/models/test_registry.py',
)  # fmt: skip
# Each file of the page: its place in the project, and the lines that registered it from outside.
JOINED = {
    'tiny_fcn.py': ('models/tiny_fcn.py', ('import models\n', '\nmodels.register(FAMILY)\n')),
    'shapes.py': (
        'datasets/readers/shapes.py',
        ('import sys\n', 'import datasets\n', '\n\ndatasets.register(sys.modules[__name__])\n'),
    ),
    'focal.py': ('engine/training/losses/focal.py', ()),
    'centre_crop.py': (
        'datasets/loading/augmentations/centre_crop.py',
        (
            'from datasets.loading import augmentations\n',
            '\naugmentations.register(AUGMENTATION)\n',
        ),
    ),
    'opencv_dnn.py': ('engine/backends/opencv_dnn.py', ()),
    'tests/models/test_tiny_fcn.py': ('tests/models/test_tiny_fcn.py', ()),
}
# The registration of each recipe: for each file the name that it adds, and pairs of a regular
# expression and its replacement. A name that is there already is not added again.
REGISTRATIONS = {
    'models/__init__.py': (
        'tiny_fcn',
        [
            ('from models import ', r'\g<0>tiny_fcn, '),
            (r'(for _family in .*)\):', r'\1, tiny_fcn):'),
        ],
    ),
    'tests/models/test_registry.py': (
        'tiny_fcn',
        [(r'ONE_OF_EACH_KIND = \(\n', r"\g<0>    'tiny_fcn',\n")],
    ),
    'datasets/registry.py': (
        'shapes',
        [
            (r'from datasets\.readers import \(\n', r'\g<0>    shapes,\n'),
            (r'\Z', 'register(shapes)\n'),
        ],
    ),
    'engine/training/losses/__init__.py': (
        'focal',
        [(r'losses import \(.*\n', r'\g<0>    focal,\n')],
    ),
    'datasets/loading/augmentations/__init__.py': (
        'centre_crop',
        [
            ('augmentations import ', r'\g<0>centre_crop, '),
            (r'\Z', 'register(centre_crop.AUGMENTATION)\n'),
        ],
    ),
    'engine/backends/registry.py': ('opencv_dnn', [(r'BUILT_IN = \(', r"\g<0>'opencv_dnn', ")]),
}
CONFIG = {
    'network': 'tiny_fcn', 'fcn_width': 8, 'num_classes': 3,
    'dataset': 'shapes', 'augmentation': 'centre_crop', 'image_height': 24, 'image_width': 32,
    'loss': 'focal', 'focal_gamma': 1.0, 'lr': 0.1, 'batch_size': 2, 'max_iter': 4,
}  # fmt: skip


def recipes():
    """Return the files of the page as parts of the project, as their text by path."""
    page = (programs.PROJECT / 'docs' / 'extending.md').read_text()
    shown = dict(re.findall(r'`([\w/]+\.py)`:\n\n```python\n(.*?)```\n', page, re.DOTALL))
    files = {}
    for name, (path, dropped) in JOINED.items():
        text = shown[name]
        for line in dropped:
            assert text.count(line) == 1, (name, line)
            text = text.replace(line, '')
        files[path] = text
    return files


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """A copy of the project with all five parts added."""
    root = tmp_path_factory.mktemp('project')
    for name in COPIED:
        source = programs.PROJECT / name
        if source.is_dir():
            shutil.copytree(source, root / name)  # with compiled files, which are still valid
        else:
            (root / name).parent.mkdir(exist_ok=True)
            shutil.copy(source, root / name)
    for path, text in recipes().items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    for path, (name, changes) in REGISTRATIONS.items():
        text = (root / path).read_text()
        for pattern, replacement in changes if name not in text else ():
            text, count = re.subn(pattern, replacement, text, count=1)
            assert count == 1, f'{path}: no {pattern}'
        (root / path).write_text(text)
    (root / 'tiny.yaml').write_text(yaml.safe_dump(CONFIG))
    write_shapes(root / 'data')
    return root


def write_shapes(folder):
    """Write images of squares and discs, and their masks."""
    rng = np.random.RandomState(0)
    for split, count in (('train', 4), ('val', 2)):
        for name in ('images', 'masks'):
            (folder / name / split).mkdir(parents=True)
        for number in range(count):
            mask = np.zeros((40, 48), np.uint8)
            cv2.circle(mask, (34, 20), 9, 2, -1)
            mask[10:28, 6:20] = 1
            image = rng.randint(0, 60, (40, 48, 3)) + 60 * mask[..., None]
            cv2.imwrite(str(folder / 'images' / split / f'{number}.png'), image)
            cv2.imwrite(str(folder / 'masks' / split / f'{number}.png'), mask)


def run(project, *arguments):
    process = programs.run(*arguments, cwd=project)
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_the_recipes_pass_the_style_checks(project):
    ruff = [sys.executable, '-m', 'ruff']
    for check in (['check'], ['format', '--check']):
        process = subprocess.run([*ruff, *check, *recipes()], cwd=project, capture_output=True)
        assert process.returncode == 0, process.stdout.decode()


def test_the_network_passes_its_own_test(project):
    run(project, '-m', 'pytest', '-p', 'no:cacheprovider', 'tests/models')
    counted = run(project, '-m', 'models.complexity', '--network', 'tiny_fcn_wide')
    assert 'tiny_fcn_wide' in counted


def test_the_data_set_is_read(project):
    checked = run(project, '-m', 'datasets.prepare', 'shapes', '-d', 'data', '--check')
    assert 'disc' in checked


def test_all_five_parts_train_and_evaluate_together(project):
    options = ['-cfg', 'tiny.yaml', '-d', 'data', '-c', 'cpu']
    run(project, 'train.py', *options, '-o', 'run', '--workers', '1')
    scores = {}
    for backend in ('opencv_dnn', 'nnabla'):
        path = project / f'{backend}.json'
        run(
            project, 'evaluate.py', *options, '-m', 'run/final.h5', '--backend', backend,
            '--json', path,
        )  # fmt: skip
        scores[backend] = json.loads(path.read_text())
    assert scores['opencv_dnn']['settings']['backend'] == 'opencv_dnn'
    assert scores['opencv_dnn']['miou'] == pytest.approx(scores['nnabla']['miou'], abs=0.1)
