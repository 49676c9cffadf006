"""Fixtures of all tests: a clean NNabla, an own cache, reference material, photos."""

import os
import sys
from pathlib import Path

import cv2
import nnabla as nn
import pytest

from common import machine
from datasets import image_files
from layers.sync_batch_norm import MISSING_MODULES
from models import registry
from support import core_tests

PROJECT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get('SHARED') or PROJECT.parent / 'shared')
# As batch normalisation does for trainings: NNabla searches for these at every array access.
sys.modules.update(dict.fromkeys(MISSING_MODULES))


def pytest_xdist_auto_num_workers():
    """Return one worker more than there are cores: many tests wait for processes they start."""
    return machine.cores() + 1


def pytest_configure(config):
    """Refuse to run the core when a listed file does not exist, as after a renaming."""
    missing = core_tests.missing_paths() if _runs_core_only(config) else []
    if missing:
        raise pytest.UsageError(f'CORE in tests/support/core_tests.py: no file {missing[0]}')


def pytest_ignore_collect(collection_path, config):
    """Do not import modules without core tests when only the core runs: it takes seconds."""
    return True if _runs_core_only(config) and not core_tests.in_core(collection_path) else None


def pytest_collection_modifyitems(config, items):
    """Mark the core's tests, and run long tests first: no worker is left with one at the end."""
    for item in items:
        if core_tests.is_core(item.nodeid):
            item.add_marker(pytest.mark.fast)
    config.stash[core_tests.COLLECTED] = [item.nodeid for item in items]
    items.sort(key=lambda item: item.get_closest_marker('long') is None)


def pytest_terminal_summary(terminalreporter, config):
    """Tell how much of the documents was run; with -v, of each page, and what was not, and why."""
    from docs import summary

    found = [
        value
        for outcome in ('passed', 'failed')
        for report in terminalreporter.getreports(outcome)
        for name, value in report.user_properties
        if name == summary.PROPERTY
    ]
    if found:
        paths = sorted(Path(path) for path, _ in found)
        times = [tuple(each) for _, own in found for each in own]
        terminalreporter.section('documents')
        terminalreporter.line(summary.text(paths, times, config.get_verbosity() >= 0))


def _runs_core_only(config) -> bool:
    return config.getoption('markexpr') == core_tests.MARK_EXPRESSION


@pytest.fixture(autouse=True)
def clean_nnabla():
    """Remove the parameters of other tests and select the CPU."""
    nn.clear_parameters()
    nn.set_default_context(nn.Context(['cpu:float'], 'CpuCachedArray', '0'))
    yield
    nn.clear_parameters()


@pytest.fixture(autouse=True, scope='module')
def unregistered():
    """Unregister, after a module, the networks of a user's own that its tests imported."""
    before = set(registry._families)
    yield
    for name in registry._families.keys() - before:
        del sys.modules[registry._families.pop(name).graph.__module__]


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
