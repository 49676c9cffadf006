"""What all tests share: a clean NNabla, and the reference material where it is."""

import os
from pathlib import Path

import cv2
import nnabla as nn
import pytest

from datasets import image_files

PROJECT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get('SHARED') or PROJECT.parent / 'shared')


def pytest_collection_modifyitems(items):
    """Long tests first, so that no process ends up with one while the others are idle."""
    items.sort(key=lambda item: item.get_closest_marker('long') is None)


@pytest.fixture(autouse=True)
def clean_nnabla():
    """No parameters of another test, and the CPU."""
    nn.clear_parameters()
    nn.set_default_context(nn.Context(['cpu:float'], 'CpuCachedArray', '0'))
    yield
    nn.clear_parameters()


@pytest.fixture(autouse=True, scope='session')
def own_cache(tmp_path_factory):
    """The tests download and compile for themselves, not into the cache of the user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('NNSEG_CACHE', str(tmp_path_factory.mktemp('cache')))
        yield


@pytest.fixture(scope='session')
def shared():
    """The folder of reference material beside the project; a user may not have it, CI does."""
    if not SHARED.is_dir():
        if os.environ.get('CI'):
            pytest.fail(f'{SHARED} is missing')
        pytest.skip(f'needs the reference material in {SHARED}')
    return SHARED


@pytest.fixture
def working_folder(tmp_path, monkeypatch):
    """A working directory of the test's own; configs and weights are found all the same."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def small_photo(working_folder):
    """A piece of a real street photo, 120 by 90."""
    path = working_folder / 'small.png'
    photo = image_files.read_image(PROJECT / 'resources' / 'street.jpg')
    image_files.write_image(path, cv2.resize(photo, (120, 90)))
    return path
