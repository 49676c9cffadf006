"""docs/quickstart.ipynb: every cell runs, in an environment of its own, and leaves what it should.

``make test-bench`` runs it: it installs the project's packages by uv, from the index of pip and uv.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import nbformat
import numpy as np
import pytest
import yaml

from docs.workshop import published_files
from support import programs

NOTEBOOK = programs.PROJECT / 'docs' / 'quickstart.ipynb'
PAGE = programs.PROJECT / 'docs' / 'own-data.md'  # explains what the notebook does
PHOTO = 'resources/street.jpg'  # 751x563 pixels
PYTHON = '.venv/bin/python'


def read_notebook():
    """Return the notebook as it is committed."""
    return nbformat.read(NOTEBOOK, as_version=4)


def code_cells():
    """Return the cells of code by their names."""
    return {cell.id: cell for cell in read_notebook().cells if cell.cell_type == 'code'}


def test_the_notebook_is_stored_without_outputs():
    nbformat.validate(read_notebook())
    for cell in code_cells().values():
        assert cell.execution_count is None and not cell.outputs, cell.id
    assert re.search('took .* minutes', read_notebook().cells[0].source)


def test_the_practice_data_are_those_of_the_page():
    cell = code_cells()['write-practice-data'].source
    assert cell.partition('\n')[2].strip() in PAGE.read_text()


class Run:
    """The folder in which the notebook runs, and what its cells print.

    Attributes:
        folder: The clone, which the cells make.
        printed: What the cell at hand has printed.
        pictures: The pictures that it shows, as their data by type.
    """

    def __init__(self, folder: Path):
        self.folder, self.printed, self.pictures = folder / 'nnseg', '', []

    def take(self, cell):
        """Take over the outputs of a cell that has run."""
        streams = (output.text for output in cell.outputs if output.output_type == 'stream')
        self.printed = ''.join(streams)
        shown = (output.get('data', {}) for output in cell.outputs)
        self.pictures = [data for data in shown if 'image/jpeg' in data or 'image/png' in data]

    def image(self, name: str) -> np.ndarray:
        """Return an image that a cell has written, as it is stored."""
        image = cv2.imread(str(self.folder / name), cv2.IMREAD_UNCHANGED)
        assert image is not None, name
        return image

    def python(self, *arguments) -> str:
        """Run a command in the environment that the notebook made; return what it prints."""
        process = subprocess.run(
            [self.folder / PYTHON, *arguments], cwd=self.folder, capture_output=True, text=True
        )
        assert process.returncode == 0, process.stderr
        return process.stdout


def check_settings(run: Run):
    assert not run.folder.exists()


def check_clone(run: Run):
    assert (run.folder / 'infer.py').read_bytes() == (programs.PROJECT / 'infer.py').read_bytes()


def check_folder(run: Run):
    assert str(run.folder) in run.printed


def check_install(run: Run):
    assert re.search(r'^nnseg \d+\.\d+\.\d+$', run.printed, re.MULTILINE)
    assert run.python('-c', 'import nnabla, sys; print(sys.version_info[:2])').endswith('(3, 10)\n')
    assert (run.folder / PYTHON).parent.resolve() != Path(sys.executable).parent.resolve()


def check_segment(run: Run):
    assert '37.9%  building' in run.printed and '37.9 %' in NOTEBOOK.read_text()
    height, width = run.image('street.jpg').shape[:2]
    assert height == 563 and width > 751  # with the legend


def check_picture(run: Run):
    """A cell that shows a picture shows one."""
    assert len(run.pictures) == 1


def check_own_picture(run: Run):
    labels, confidence = (run.image(f'mine_{kind}.png') for kind in ('labels', 'confidence'))
    assert labels.shape == confidence.shape == (563, 751)
    assert labels.max() < 11
    assert {'mine.jpg', 'mine_labels.png', 'mine_confidence.png'} <= set(run.printed.split())


def check_write_practice_data(run: Run):
    assert (run.folder / 'practice_data.py').exists()


def check_practice_data(run: Run):
    data, photo = run.folder / 'data/street', run.image(PHOTO)
    images, masks = ({*(data / kind).iterdir()} for kind in ('images', 'masks'))
    assert len(images) == 42 and {path.stem for path in images} == {path.stem for path in masks}
    assert all(run.image(path).shape == (256, 256, 3) for path in images)
    assert {*np.unique([run.image(path) for path in masks])} == {0, 1, 2, 255}
    part = run.image('data/street/images/left_60x51.jpg').astype(int)
    assert abs(part - photo[51 : 51 + 256, 60 : 60 + 256]).mean() < 4  # JPEG


def check_describe(run: Run):
    data = run.folder / 'data/street'
    described = yaml.safe_load((data / 'dataset.yaml').read_text())
    assert list(described['classes']) == ['sky', 'building', 'ground']
    parts = [(data / f'{split}.txt').read_text().split() for split in ('train', 'val')]
    assert {name.partition('_')[0] for part in parts for name in part} == {'left', 'right'}
    assert sorted(map(len, parts)) == [7, 35]
    assert run.printed.count('no problems') == 2
    assert run.image('sheet.png').size > 256 * 256


def check_config(run: Run):
    effective = run.python('-m', 'engine.config', '-cfg', 'street.yaml')
    assert 'max_iter: 30' in effective and 'pretrained: ' in effective


def check_train(run: Run):
    assert 'iteration 30/30' in (run.folder / 'runs/street/train.log').read_text()
    for name in ('best.h5', 'final.h5', 'state.h5', 'report.png'):
        assert (run.folder / 'runs/street' / name).stat().st_size > 10_000, name


def check_evaluate(run: Run):
    scores = json.loads((run.folder / 'scores.json').read_text())
    assert scores['images'] == 7
    assert scores['miou'] > 50  # a network that has learned nothing has about 20
    for name in ('sky', 'building', 'ground'):
        assert name in run.printed
    assert len([*(run.folder / 'results/street').rglob('*.*')]) == 7
    assert run.image('trained.jpg').shape[1] > 751


def check_export(run: Run):
    """Labels of the exported file, without NNabla, are those of NNabla itself."""
    command = ['infer.py', '-cfg', 'runs/street', '-i', PHOTO, '-o', 'native.png', '--save-labels']
    run.python(*command, '--backend', 'nnabla')
    exported, native = run.image('exported_labels.png'), run.image('native_labels.png')
    assert exported.shape == native.shape and len(np.unique(native)) == 3
    assert np.mean(exported == native) > 0.999


CHECKS = {
    'settings': check_settings,
    'clone': check_clone,
    'folder': check_folder,
    'install': check_install,
    'segment': check_segment,
    'show-segment': check_picture,
    'own-picture': check_own_picture,
    'show-own-picture': check_picture,
    'write-practice-data': check_write_practice_data,
    'practice-data': check_practice_data,
    'describe': check_describe,
    'show-sheet': check_picture,
    'config': check_config,
    'train': check_train,
    'show-curves': check_picture,
    'evaluate': check_evaluate,
    'show-trained': check_picture,
    'export': check_export,
    'show-exported': check_picture,
}


@pytest.fixture
def repository(tmp_path):
    """A repository of the project as it is now, committed or not."""
    folder = tmp_path / 'repository'
    for name in published_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(programs.PROJECT / name, folder / name)
    author = ('-c', 'user.name=test', '-c', 'user.email=test@localhost')
    for command in (['init', '-q'], ['add', '-A'], [*author, 'commit', '-q', '-m', 'as it is']):
        subprocess.run(['git', *command], cwd=folder, check=True)
    return folder


@pytest.fixture
def environment(tmp_path, repository):
    """The variables of the kernel, whose python3 has no package of the project, as Colab's.

    ``UV_PYTHON`` names the interpreter; by default it is that of the tests.
    """
    interpreter = os.environ.get('UV_PYTHON', sys.executable)
    subprocess.run([interpreter, '-m', 'venv', tmp_path / 'colab'], check=True)
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(('PYTEST', 'VIRTUAL_ENV', 'PYTHONPATH', 'MAKE', 'MFLAGS'))
    }
    return {
        **inherited,
        'PATH': f'{tmp_path / "colab" / "bin"}:/usr/local/bin:/usr/bin:/bin',
        'UV_PYTHON': interpreter,
        'NNSEG_REPOSITORY': str(repository),
        'NNSEG_CACHE': str(tmp_path / 'cache'),
        'IPYTHONDIR': str(tmp_path / 'ipython'),
    }


@pytest.mark.bench
@pytest.mark.timeout(1800)
def test_the_notebook_runs_from_top_to_bottom(tmp_path, environment):
    from nbclient import NotebookClient

    folder = tmp_path / 'content'
    folder.mkdir()
    notebook = read_notebook()
    assert [*CHECKS] == [cell.id for cell in notebook.cells if cell.cell_type == 'code']
    client = NotebookClient(
        notebook, timeout=900, kernel_name='python3', resources={'metadata': {'path': str(folder)}}
    )
    run = Run(folder)
    with client.setup_kernel(env=environment):
        for index, cell in enumerate(notebook.cells):
            if cell.cell_type == 'code':
                client.execute_cell(cell, index)
                run.take(cell)
                CHECKS[cell.id](run)
