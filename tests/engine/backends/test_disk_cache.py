"""The disk cache of compiled models: hits, misses, damage and eviction."""

import os
import stat
from dataclasses import replace

import nnabla as nn
import numpy as np
import pytest

from engine.backends import exported
from engine.backends.disk_cache import CacheKey, DiskCache
from engine.backends.nnabla import NnablaBackend
from support import backend_runs
from support.backend_runs import EXPORTS, create_backend, random_input

KEY = CacheKey('tiny-1x3x8x8-runtime-float32', {'parameters': 'digest'}, {'nnseg': '1'})


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


def entry_of(disk_cache):
    """Return the only entry of a folder, as path and bytes."""
    (path,) = disk_cache.folder.iterdir()
    return path, path.read_bytes()


def test_every_byte_of_an_entry_counts(disk_cache):
    disk_cache.write(KEY, b'payload', {'agreement': {}})
    path, whole = entry_of(disk_cache)
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert disk_cache.read(KEY) is None, place
        path.write_bytes(whole[:place])
        assert disk_cache.read(KEY) is None, place
    path.write_bytes(whole + b'\n')
    assert disk_cache.read(KEY) is None
    path.write_bytes(whole)
    assert disk_cache.read(KEY)[0] == b'payload'


def test_a_damaged_entry_is_compiled_again(tiny, disk_cache, log):
    """A truncated, an empty and a foreign file; afterwards the file is whole again."""
    x = random_input(tiny)
    expected = create_backend('openvino', tiny, disk_cache).run(x)
    path, whole = entry_of(disk_cache)
    for damaged in (whole[:-1], b'', b'[]\n'):
        path.write_bytes(damaged)
        log.clear()
        assert np.array_equal(create_backend('openvino', tiny, disk_cache).run(x), expected)
        assert f'{path} is damaged; compiling again' in log.text
        assert create_backend('openvino', tiny, disk_cache).is_ready(x.shape)


def test_an_entry_of_another_network_is_not_used(tiny, disk_cache, log):
    """A copy of the other network's entry under the name of this one's."""
    x = random_input(tiny)
    expected = create_backend('onnxruntime', tiny, disk_cache).run(x)
    path, _ = entry_of(disk_cache)
    path.unlink()
    parameter = next(iter(nn.get_parameters().values()))
    parameter.d = parameter.d * 2
    assert not np.array_equal(create_backend('onnxruntime', tiny, disk_cache).run(x), expected)
    entry_of(disk_cache)[0].rename(path)
    parameter.d = parameter.d / 2
    found = create_backend('onnxruntime', tiny, disk_cache).run(x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert f'{path} is damaged; compiling again' in log.text


@pytest.mark.parametrize('change', ['label', 'facts', 'versions'])
def test_an_entry_is_for_one_network_config_and_version(disk_cache, change):
    disk_cache.write(KEY, b'payload', {})
    assert disk_cache.has(KEY)
    other = replace(KEY, **{change: 'other' if change == 'label' else {'a': 'another'}})
    assert disk_cache.read(other) is None
    assert not disk_cache.has(other)


def test_facts_that_only_a_forger_writes_are_compiled_again(tiny, disk_cache, log):
    x = random_input(tiny)
    made = create_backend('onnxruntime', tiny, disk_cache)
    made.run(x)
    key = made._key(x.shape)
    payload, _ = disk_cache.read(key)
    for agreement in (None, 3, {'a': 1}, {'max_difference': 'x'}, {'images': [1]}):
        disk_cache.write(key, payload, {'agreement': agreement})
        create_backend('onnxruntime', tiny, disk_cache).run(x)
    assert log.text.count('has no valid agreement with NNabla; compiling again') == 5


def test_files_and_folders_are_for_their_owner_alone(tmp_path):
    folder = tmp_path / 'cache' / 'backends'
    disk_cache = DiskCache(folder)
    disk_cache.write(KEY, b'payload', {})
    disk_cache.keep_rejected(KEY, b'onnx')
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    folder.chmod(0o755)  # as older versions made it
    disk_cache.write(KEY, b'payload', {})
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder.parent)] == [0o700] * 2


def test_what_is_no_regular_file_is_replaced(disk_cache, tmp_path, log):
    disk_cache.write(KEY, b'payload', {})
    path, whole = entry_of(disk_cache)
    victim = tmp_path / 'victim'
    victim.write_bytes(whole)
    for make in (lambda: os.mkfifo(path), lambda: path.symlink_to(victim)):
        path.unlink()
        make()
        assert disk_cache.read(KEY) is None
        assert not disk_cache.has(KEY)
        disk_cache.write(KEY, b'new', {})
        assert disk_cache.read(KEY)[0] == b'new'
    assert victim.read_bytes() == whole
    path.unlink()
    path.mkdir()
    assert disk_cache.read(KEY) is None
    disk_cache.write(KEY, b'new', {})
    assert 'compiled networks are not cached' in log.text


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
    assert not DiskCache().has(KEY)


def test_least_recently_used_files_are_evicted(tmp_path, monkeypatch):
    disk_cache = DiskCache(tmp_path)
    monkeypatch.setattr('engine.backends.disk_cache.MAX_BYTES', 3500)
    keys = [replace(KEY, label=f'n{number}') for number in range(6)]
    names = [f'{key.name}.compiled' for key in keys]
    for number in range(5):
        disk_cache.write(keys[number], bytes(800), {})
        os.utime(tmp_path / names[number], (number, number))
        disk_cache.read(keys[0])
    assert {path.name for path in tmp_path.iterdir()} == {names[0], names[3], names[4]}
    profile = tmp_path / 'TensorrtExecutionProvider_1_sm90.profile'  # every file counts
    profile.write_bytes(bytes(1000))
    os.utime(profile, (10, 3))  # written long ago, but read recently
    assert 'it is kept as' in disk_cache.keep_rejected(KEY, bytes(1000))
    rejected = f'{KEY.name}.mismatch.onnx'
    assert {path.name for path in tmp_path.iterdir()} == {names[0], profile.name, rejected}
    os.utime(tmp_path / rejected, (9, 9))
    disk_cache.write(keys[5], bytes(800), {})
    assert {path.name for path in tmp_path.iterdir()} == {names[0], profile.name, names[5]}
