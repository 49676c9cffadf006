"""The disk cache of compiled models: hits, misses, damage and eviction."""

import json
import os

import numpy as np
import pytest

from engine.backends import exported
from engine.backends.disk_cache import DiskCache
from engine.backends.nnabla import NnablaBackend
from support import backend_runs
from support.backend_runs import EXPORTS, create_backend, random_input


@pytest.mark.parametrize('name', EXPORTS)
def test_a_second_start_loads_the_cached_model(tiny, disk_cache, name, monkeypatch, log):
    x = random_input(tiny)
    first = create_backend(name, tiny, disk_cache).run(x)
    assert 'agrees with NNabla: largest difference' in log.text
    monkeypatch.setattr(exported, 'export_onnx', backend_runs.fail_if_called)
    monkeypatch.setattr(NnablaBackend, 'run', backend_runs.fail_if_called)
    again = create_backend(name, tiny, disk_cache)
    assert again.is_ready(x.shape)
    assert np.array_equal(again.run(x), first)
    monkeypatch.setattr(exported, 'sources_digest', lambda: 'newer')
    assert not create_backend(name, tiny, disk_cache).is_ready(x.shape)


def test_a_damaged_file_is_compiled_again(tiny, disk_cache, log):
    """A truncated, an empty and a foreign file; afterwards the file is whole again."""
    x = random_input(tiny)
    expected = create_backend('openvino', tiny, disk_cache).run(x)
    (path,) = disk_cache.folder.iterdir()
    versions = json.loads(path.read_bytes().split(b'\n', 1)[0])['versions']
    for damage in (lambda data: data[:-1], lambda data: b'', lambda data: b'[]\n'):
        path.write_bytes(damage(path.read_bytes()))
        log.clear()
        assert np.array_equal(create_backend('openvino', tiny, disk_cache).run(x), expected)
        assert f'{path} is damaged; compiling again' in log.text
        assert disk_cache.read(path.stem, versions) is not None


def no_home(path):
    raise RuntimeError('no home')


def test_without_a_cache_folder_models_stay_in_memory(tiny, tmp_path, monkeypatch, log):
    (tmp_path / 'file').touch()
    made = create_backend('openvino', tiny, DiskCache(tmp_path / 'file' / 'backends'))
    for width in (64, 96):
        made.run(random_input(tiny, width=width))
    assert log.text.count('compiled networks are not cached for the next start') == 1
    monkeypatch.setattr(exported, 'export_onnx', backend_runs.fail_if_called)
    made.run(random_input(tiny))
    monkeypatch.delenv('NNSEG_CACHE', raising=False)
    monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
    monkeypatch.delenv('HOME')
    monkeypatch.setattr('pathlib.Path.expanduser', no_home)
    assert DiskCache().folder is None
    assert not DiskCache().has('anything', {})


def test_least_recently_used_files_are_evicted(tmp_path, monkeypatch):
    disk_cache = DiskCache(tmp_path)
    monkeypatch.setattr('engine.backends.disk_cache.MAX_BYTES', 3500)
    for number in range(5):
        disk_cache.write(f'n{number}', {}, bytes(1000), {})
        os.utime(tmp_path / f'n{number}.compiled', (number, number))
        disk_cache.read('n0', {})
    assert sorted(path.stem for path in tmp_path.iterdir()) == ['n0', 'n3', 'n4']
    profile = tmp_path / 'TensorrtExecutionProvider_1_sm90.profile'  # every file counts
    profile.write_bytes(bytes(1000))
    os.utime(profile, (10, 3))  # written long ago, but read recently
    assert 'it is kept as' in disk_cache.keep_rejected('other', bytes(1000))
    left = {'n0.compiled', profile.name, 'other.mismatch.onnx'}
    assert {path.name for path in tmp_path.iterdir()} == left
    os.utime(tmp_path / 'other.mismatch.onnx', (9, 9))
    disk_cache.write('n5', {}, bytes(1000), {})
    assert {path.name for path in tmp_path.iterdir()} == {
        'n0.compiled',
        profile.name,
        'n5.compiled',
    }
