"""Selection of a backend by options and installed packages."""

import sys

import pytest

from common.errors import UserError
from engine.backends import select
from engine.backends.nnabla import NnablaBackend
from engine.backends.settings import BackendSettings
from engine.device.context import DeviceChoice
from support.backend_runs import CPU, create_backend, random_input


def hide(monkeypatch, *packages):
    for package in packages:
        monkeypatch.setitem(sys.modules, package, None)


def test_a_missing_package_is_reported_with_its_pip_command(tiny, disk_cache, monkeypatch, log):
    with pytest.raises(UserError, match='the package tensorrt is not installed: python -m pip'):
        create_backend('tensorrt', tiny, disk_cache)
    hide(monkeypatch, 'openvino')
    with pytest.raises(UserError, match='openvino is not .*pip install -r requirements.txt'):
        create_backend('openvino', tiny, disk_cache)
    x = random_input(tiny)
    made = create_backend('auto', tiny, disk_cache)
    assert 'backend: onnxruntime' in log.text
    assert '(openvino is not installed: python -m pip install -r requirements.txt)' in log.text
    made.run(x)
    assert made.used == {'onnxruntime'}
    hide(monkeypatch, 'onnxruntime')
    log.clear()
    assert isinstance(create_backend('auto', tiny, disk_cache), NnablaBackend)
    (line,) = log.messages
    assert line.startswith('backend: nnabla (openvino is not installed; onnxruntime is not')


def test_unsupported_combinations_of_options_are_rejected(tiny, disk_cache, monkeypatch):
    for settings, message in (
        (BackendSettings('nnabla', 'int8'), 'only --backend openvino supports it'),
        (BackendSettings('onnxruntime', 'bfloat16'), 'only --backend openvino supports it'),
        (BackendSettings('nnabla', threads=2), 'NNabla uses one thread'),
        (BackendSettings('auto', threads=0), '--threads must be at least 1'),
    ):
        with pytest.raises(UserError, match=message):
            select.create(settings, tiny.network, CPU, cache=disk_cache)
    half = DeviceChoice('cudnn', 'half')
    with pytest.raises(UserError, match='-t half works with NNabla'):
        select.create(BackendSettings('openvino'), tiny.network, half, cache=disk_cache)
    for name in ('auto', 'openvino'):
        given = BackendSettings(name, 'bfloat16')
        named = '--precision bfloat16' if name == 'auto' else '--backend openvino'
        with pytest.raises(UserError, match=f'^{named}: -t half works with NNabla'):
            select.create(given, tiny.network, half, cache=disk_cache)
    assert isinstance(
        select.create(BackendSettings(), tiny.network, half, cache=disk_cache), NnablaBackend
    )
    gpu = DeviceChoice('cudnn', 'float')
    assert isinstance(
        select.create(BackendSettings(), tiny.network, gpu, cache=disk_cache), NnablaBackend
    )
    with pytest.raises(UserError, match='onnxruntime has no CUDAExecutionProvider: .*-c cpu'):
        select.create(BackendSettings('onnxruntime'), tiny.network, gpu, cache=disk_cache)


def test_unused_threads_are_reported(tiny, disk_cache, monkeypatch, log):
    line = '--threads 3 has no effect: NNabla uses one thread'
    for given, here in (
        (DeviceChoice('cudnn', 'half'), 1),
        (DeviceChoice('cudnn', 'float'), 1),
        (CPU, 0),
    ):
        log.clear()
        made = select.create(BackendSettings(threads=3), tiny.network, given, cache=disk_cache)
        assert log.messages.count(line) == here
        assert made.threads == 1  # of the backends used so far
    hide(monkeypatch, 'openvino', 'onnxruntime')
    select.create(BackendSettings(threads=3), tiny.network, CPU, cache=disk_cache)
    assert log.messages.count(line) == 1
