"""The registry of backends, and a backend from a module outside the project."""

import logging
import sys

import cv2
import nnabla as nn
import numpy as np
import pytest

from common.errors import UserError
from engine.backends import registry, select
from engine.backends.disk_cache import DiskCache
from engine.backends.errors import DisagreementError
from engine.backends.registry import Registration
from engine.backends.settings import BackendSettings
from engine.device.context import DeviceChoice
from engine.inference import predictor
from engine.inference.test_time import Protocol
from support import programs, stand_ins
from support.infer_runs import started

CPU = DeviceChoice('cpu', 'float')
# ONNX Runtime as a user would add it, through the public interface only.
MODULE = """
import onnxruntime

from engine.backends.registry import Registration, register


class Own:
    name, precision, fits, threads = 'own', 'float32', 'any', 1
    versions = {'onnxruntime': onnxruntime.__version__}

    def __str__(self):
        return 'a runtime of my own'

    def exact(self):
        return self

    def compile(self, content, inputs):
        return OwnModel(content)

    def load(self, payload):
        return OwnModel(payload)


class OwnModel:
    def __init__(self, content):
        self.content = content
        self.session = onnxruntime.InferenceSession(content)

    def run(self, x):
        return self.session.run(None, {'image': x})[0] * FACTOR

    def payload(self):
        return self.content


install = 'python -m pip install onnxruntime'
register(Registration('own', ('onnxruntime',), install, lambda request: Own()))
"""


@pytest.fixture
def clean_registry(monkeypatch):
    """Undo all registrations after the test."""
    monkeypatch.setattr(registry._registered, '_parts', dict(registry.registered()))


@pytest.fixture
def module(clean_registry, working_folder, monkeypatch):
    """Return a function that writes the module; its logits are multiplied by a factor."""
    monkeypatch.setattr(sys, 'path', list(sys.path))

    def write(factor=1):
        path = working_folder / 'own_backend.py'
        path.write_text(MODULE.replace('FACTOR', str(factor)))
        monkeypatch.delitem(sys.modules, 'own_backend', raising=False)
        return path

    yield write
    sys.modules.pop('own_backend', None)


def test_an_own_backend_computes_logits(tiny, module, working_folder, monkeypatch):
    monkeypatch.syspath_prepend(module().parent)
    import own_backend  # noqa: F401

    image = stand_ins.image(45, 61)
    protocol = Protocol(scales=(0.8, 1.0), flip=True)
    expected = tiny.probabilities(image, protocol)
    tiny.backend = select.create(
        BackendSettings('own'), tiny.network, CPU, cache=DiskCache(working_folder / 'kept')
    )
    for _ in range(2):  # compiled, then cached in memory
        found = tiny.probabilities(image, protocol)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert tiny.backend.used == {'own'}
    assert len(list((working_folder / 'kept').iterdir())) == 2  # one for each scale


def test_an_own_backend_that_disagrees_is_rejected(tiny, module, working_folder, monkeypatch):
    monkeypatch.syspath_prepend(module(factor=1.01).parent)
    import own_backend  # noqa: F401

    made = select.create(
        BackendSettings('own'), tiny.network, CPU, cache=DiskCache(working_folder / 'kept')
    )
    x = predictor.normalise(stand_ins.image(64, 96), tiny.network.info)[None]
    with pytest.raises(DisagreementError, match='own disagrees with NNabla'):
        made.run(x)


def test_a_command_imports_it_at_any_position_of_the_option(
    module, small_photo, capsys, caplog, monkeypatch
):
    caplog.set_level(logging.INFO, 'nnseg')
    monkeypatch.setenv('NNSEG_CACHE', 'cache')
    camvid = ['-cfg', 'configs/D3Net_T_camvid.yaml', '-c', 'cpu', '--save-labels']
    own = ['--backend', 'own', '--import', module()]
    assert started('-i', small_photo, *camvid, *own, '-o', 'own.png') == 0
    assert 'a runtime of my own' in caplog.messages
    nn.clear_parameters()
    nnabla = ['--backend', 'nnabla', '-o', 'nnabla.png']
    assert started('-i', small_photo, *camvid, *nnabla) == 0
    labels = [cv2.imread(f'{name}_labels.png', -1) for name in ('own', 'nnabla')]
    assert np.mean(labels[0] == labels[1]) > 0.999
    capsys.readouterr()
    assert started('-i', small_photo, *camvid, '--backend', 'other') == 2
    error = capsys.readouterr().err
    assert error.startswith('error: --backend other: unknown backend; available are auto, nnabla')
    assert ' own' in error


def registration(name, **ranks):
    return Registration(name, (), '', lambda request: None, **ranks)


def test_auto_tries_backends_by_rank(clean_registry):
    assert [each.name for each in registry.tried_by_auto(on_gpu=False)] == [
        'openvino',
        'onnxruntime',
    ]
    assert [each.name for each in registry.tried_by_auto(on_gpu=True)] == ['tensorrt']
    registry.register(registration('between', on_cpu=15, on_gpu=5))
    registry.register(registration('never'))
    on_cpu = [each.name for each in registry.tried_by_auto(on_gpu=False)]
    assert on_cpu == ['openvino', 'between', 'onnxruntime']
    assert [each.name for each in registry.tried_by_auto(on_gpu=True)] == ['between', 'tensorrt']
    names = registry.names()
    assert names[0] == 'nnabla' and list(names[1:]) == sorted(names[1:])
    assert {'between', 'never', 'onnxruntime', 'openvino', 'tensorrt'} <= {*names}


def test_precisions_are_those_that_a_backend_supports(clean_registry):
    assert registry.precisions() == ('float32', 'bfloat16', 'int8')
    with pytest.raises(
        UserError, match='--precision float8: no backend supports it; available are float32'
    ):
        BackendSettings(precision='float8')
    registry.register(registration('coarse', precisions=('float32', 'float8', 'int8')))
    assert select.resolve_name(BackendSettings(precision='float8'), CPU) == 'coarse'
    assert select.resolve_name(BackendSettings(precision='int8'), CPU) == 'openvino'
    with pytest.raises(UserError, match='int8: only --backend openvino or coarse supports it'):
        select.resolve_name(BackendSettings('onnxruntime', 'int8'), CPU)


@pytest.mark.parametrize('name', ['openvino', 'nnabla', 'auto'])
def test_a_name_is_registered_once(name):
    """Names of the project's own backends are taken even before these are imported."""
    code = f"""
from engine.backends.registry import Registration, register

register(Registration({name!r}, (), 'pip install nothing', lambda request: None))
"""
    process = programs.run('-c', code)
    assert process.returncode == 1
    last = process.stderr.splitlines()[-1]
    assert 'UserError: ' in last
    assert 'is taken' in last or f'a backend called {name} is registered already' in last
