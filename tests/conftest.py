"""Fixtures of all tests: a clean NNabla, an own cache, reference material, photos."""

import os
from pathlib import Path

import cv2
import nnabla as nn
import pytest

from datasets import image_files

PROJECT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get('SHARED') or PROJECT.parent / 'shared')


def pytest_collection_modifyitems(items):
    """Run long tests first, so that no worker starts one when the others are done."""
    items.sort(key=lambda item: item.get_closest_marker('long') is None)


@pytest.fixture(autouse=True)
def clean_nnabla():
    """Remove the parameters of other tests and select the CPU."""
    nn.clear_parameters()
    nn.set_default_context(nn.Context(['cpu:float'], 'CpuCachedArray', '0'))
    yield
    nn.clear_parameters()


@pytest.fixture(autouse=True, scope='session')
def own_cache(tmp_path_factory):
    """Use a cache folder of the tests instead of the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('NNSEG_CACHE', str(tmp_path_factory.mktemp('cache')))
        yield


@pytest.fixture(scope='session')
def shared():
    """The folder of reference material beside the project.

    Without it tests are skipped, and fail under CI.
    """
    if not SHARED.is_dir():
        if os.environ.get('CI'):
            pytest.fail(f'{SHARED} is missing')
        pytest.skip(f'needs the reference material in {SHARED}')
    return SHARED


@pytest.fixture
def working_folder(tmp_path, monkeypatch):
    """An empty working directory; commands find configs and weights in the project anyway."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def small_photo(working_folder):
    """A file with a street photo of 120x90 pixels."""
    path = working_folder / 'small.png'
    photo = image_files.read_image(PROJECT / 'resources' / 'street.jpg')
    image_files.write_image(path, cv2.resize(photo, (120, 90)))
    return path
