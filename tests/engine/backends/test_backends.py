"""Networks in other runtimes: they compute what NNabla does, and what is kept is what was made."""

import json
import logging
import os
import shutil
import sys
from collections import Counter
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import nnabla as nn
import numpy as np
import pytest

import models
from common import machine
from common.errors import UserError
from datasets import image_files
from engine import config as configs
from engine.backends import calibration, exported, openvino, registry, select, tensorrt
from engine.backends.auto import AutoBackend
from engine.backends.base import MIN_CACHED_SHAPES
from engine.backends.disk_cache import DiskCache
from engine.backends.errors import BackendError, DisagreementError
from engine.backends.nnabla import NnablaBackend
from engine.backends.registry import RuntimeRequest
from engine.backends.settings import BackendSettings
from engine.device.context import DeviceChoice
from engine.inference import loading, predictor
from engine.inference.test_time import Protocol
from support import programs, stand_ins

CPU = DeviceChoice('cpu', 'float')
EXPORTS = 'openvino', 'onnxruntime'
STREET = programs.PROJECT / 'resources' / 'street.jpg'


@pytest.fixture
def tiny():
    made = predictor.Predictor(stand_ins.tiny())
    stand_ins.randomize_parameters()
    return made


@pytest.fixture
def kept(tmp_path):
    return DiskCache(tmp_path / 'backends')


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO, 'nnseg')
    return caplog


def backend(name, made, kept, images=None, **settings):
    settings = BackendSettings(name, **settings)
    return select.create(settings, made.network, CPU, cache=kept, calibration=images)


def with_backend(name, network, kept):
    made = predictor.Predictor(network)
    made.backend = backend(name, made, kept)
    return made


def an_input(made, height=64, width=96, seed=0):
    return predictor.normalise(stand_ins.image(height, width, seed), made.network.info)[None]


def fail(*args):
    raise AssertionError('compiled anew')


@pytest.mark.parametrize('name', [*EXPORTS, 'auto'])
@pytest.mark.parametrize('size', [(61, 83), (1, 40)])
def test_every_protocol_sees_what_nnabla_computes(tiny, kept, name, size):
    other, image = with_backend(name, tiny.network, kept), stand_ins.image(*size)
    for protocol in (
        Protocol(),
        Protocol(scales=(0.5, 1.7), flip=True),
        Protocol(window=(48, 32), scales=(1.5,), flip=True),
    ):
        expected = tiny.probabilities(image, protocol)
        np.testing.assert_allclose(other.probabilities(image, protocol), expected, atol=1e-5)
        assert np.mean(other.labels(image, protocol) == tiny.labels(image, protocol)) > 0.999


@pytest.mark.parametrize('name', EXPORTS)
@pytest.mark.parametrize('size', [(97, 131), (180, 240)])
def test_the_trained_network_sees_the_same_in_a_real_photo(kept, name, size):
    network = models.create('d3net_t', num_classes=11)
    nnabla = predictor.Predictor(network)
    models.weights.load(programs.PROJECT / 'resources' / 'D3Net_T_camvid.h5')
    image = image_files.read_image(STREET)[100 : 100 + size[0], 200 : 200 + size[1]]
    expected = nnabla.logits(image)
    found = with_backend(name, network, kept).logits(image)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    assert np.mean(found.argmax(0) == expected.argmax(0)) > 0.9999


@pytest.mark.parametrize('name', EXPORTS)
def test_a_batch(tiny, kept, name):
    x = np.concatenate([an_input(tiny, seed=seed) for seed in range(3)])
    expected = np.concatenate([tiny.backend.run(x[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(backend(name, tiny, kept).run(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('name', EXPORTS)
def test_the_second_start_compiles_nothing(tiny, kept, name, monkeypatch, log):
    x = an_input(tiny)
    first = backend(name, tiny, kept).run(x)
    assert 'agrees with NNabla: largest difference' in log.text
    monkeypatch.setattr(exported, 'export_onnx', fail)
    monkeypatch.setattr(NnablaBackend, 'run', fail)
    again = backend(name, tiny, kept)
    assert again.is_ready(x.shape)
    assert np.array_equal(again.run(x), first)
    monkeypatch.setattr(exported, 'sources_digest', lambda: 'younger')
    assert not backend(name, tiny, kept).is_ready(x.shape)


def test_what_makes_another_network_is_compiled_anew(tiny, kept, monkeypatch):
    """Weights, hyper-parameters, shape, backend; and each of the versions."""
    folder = kept.folder

    def files_after(network, name='onnxruntime', size=(64, 96)):
        made = predictor.Predictor(network)
        backend(name, made, kept).run(an_input(made, *size))
        return len(list(folder.iterdir()))

    assert files_after(tiny.network) == 1
    assert files_after(tiny.network) == 1
    assert files_after(tiny.network, 'openvino') == 2
    assert files_after(tiny.network, size=(64, 64)) == 3
    parameter = next(iter(nn.get_parameters().values()))
    parameter.d = parameter.d * 1.01
    assert files_after(tiny.network) == 4
    nn.clear_parameters()
    assert files_after(stand_ins.tiny(channels=12)) == 5
    calls = Counter()
    export = exported.export_onnx
    monkeypatch.setattr(exported, 'export_onnx', lambda *a: calls.update(['export']) or export(*a))
    assert files_after(stand_ins.tiny(channels=12)) == 5
    assert not calls
    monkeypatch.setattr(exported, 'sources_digest', lambda: 'younger')
    assert files_after(stand_ins.tiny(channels=12)) == 5  # in the place of the old one
    assert files_after(stand_ins.tiny(channels=12)) == 5
    assert calls['export'] == 1
    monkeypatch.setattr(machine, 'cpu', lambda: 'another')
    files_after(stand_ins.tiny(channels=12))
    assert calls['export'] == 1  # an ONNX file fits any CPU
    files_after(stand_ins.tiny(channels=12), 'openvino')
    assert calls['export'] == 2


@pytest.mark.parametrize('damage', [lambda data: data[:-1], lambda data: b'', lambda data: b'[]\n'])
def test_a_damaged_file_is_made_anew(tiny, kept, damage, log):
    x = an_input(tiny)
    expected = backend('openvino', tiny, kept).run(x)
    (path,) = kept.folder.iterdir()
    good = path.read_bytes()
    path.write_bytes(damage(good))
    assert np.array_equal(backend('openvino', tiny, kept).run(x), expected)
    assert f'{path} is damaged; compiling again' in log.text
    assert len(path.read_bytes()) == len(good)


def test_what_openvino_refuses_to_load_is_made_anew(tiny, kept, log):
    x = an_input(tiny)
    made = backend('openvino', tiny, kept)
    expected = made.run(x)
    (path,) = kept.folder.iterdir()
    record = json.loads(path.read_bytes().split(b'\n', 1)[0])
    kept.write(path.stem, record['versions'], b'another format', record)
    assert np.array_equal(backend('openvino', tiny, kept).run(x), expected)
    (line,) = (r.getMessage() for r in log.records if r.levelname == 'WARNING')
    assert line.startswith('openvino cannot load the cached model (')
    assert line.endswith('); compiling again')
    assert '\n' not in line


def test_without_a_place_to_keep_it_all_stays_in_memory(tiny, tmp_path, monkeypatch, log):
    (tmp_path / 'file').touch()
    made = backend('openvino', tiny, DiskCache(tmp_path / 'file' / 'backends'))
    for width in (64, 96):
        made.run(an_input(tiny, width=width))
    assert log.text.count('compiled networks are not cached for the next start') == 1
    monkeypatch.setattr(exported, 'export_onnx', fail)
    made.run(an_input(tiny))
    monkeypatch.delenv('NNSEG_CACHE', raising=False)
    monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
    monkeypatch.delenv('HOME')
    monkeypatch.setattr('pathlib.Path.expanduser', no_home)
    assert DiskCache().folder is None
    assert not DiskCache().has('anything', {})


def no_home(path):
    raise RuntimeError('no home')


def test_the_oldest_make_room(tmp_path, monkeypatch):
    kept = DiskCache(tmp_path)
    monkeypatch.setattr('engine.backends.disk_cache.MAX_BYTES', 3500)
    for number in range(5):
        kept.write(f'n{number}', {}, bytes(1000), {})
        os.utime(tmp_path / f'n{number}.compiled', (number, number))
        kept.read('n0', {})
    assert sorted(path.stem for path in tmp_path.iterdir()) == ['n0', 'n3', 'n4']
    profile = tmp_path / 'TensorrtExecutionProvider_1_sm90.profile'  # all that is there counts
    profile.write_bytes(bytes(1000))
    os.utime(profile, (10, 3))  # not written for long, but read
    assert 'it is kept as' in kept.keep_rejected('other', bytes(1000))
    left = {'n0.compiled', profile.name, 'other.mismatch.onnx'}
    assert {path.name for path in tmp_path.iterdir()} == left
    os.utime(tmp_path / 'other.mismatch.onnx', (9, 9))
    kept.write('n5', {}, bytes(1000), {})
    assert {path.name for path in tmp_path.iterdir()} == {
        'n0.compiled',
        profile.name,
        'n5.compiled',
    }


@pytest.fixture
def perturbed(monkeypatch):
    """Exports are those of weights that are a little different."""
    export = exported.export_onnx

    def other(network, shape):
        parameter = next(iter(nn.get_parameters().values()))
        before = parameter.d.copy()
        parameter.d = before * 1.001
        try:
            return export(network, shape)
        finally:
            parameter.d = before

    monkeypatch.setattr(exported, 'export_onnx', other)


@pytest.mark.parametrize('name', EXPORTS)
def test_an_export_that_computes_something_else_is_refused_and_kept(tiny, kept, name, perturbed):
    with pytest.raises(
        DisagreementError, match=f'{name} disagrees with NNabla .* kept as'
    ) as raised:
        backend(name, tiny, kept).run(an_input(tiny))
    path = Path(str(raised.value).split('kept as ')[1])
    assert path.parent == kept.folder
    import onnx

    onnx.checker.check_model(onnx.load(path))
    with pytest.raises(DisagreementError):  # the next start does not trust it either
        backend(name, tiny, kept).run(an_input(tiny))


def test_auto_goes_on_when_an_export_computes_something_else(tiny, kept, perturbed, log):
    made, x = backend('auto', tiny, kept), an_input(tiny)
    assert np.array_equal(made.run(x), tiny.backend.run(x))
    assert made.used == {'nnabla'}
    assert [r.levelname for r in log.records].count('WARNING') == 2  # one a backend
    made.run(x)
    assert [r.levelname for r in log.records].count('WARNING') == 2


def test_one_flat_colour_is_no_image_to_compare_on(tiny, kept, monkeypatch):
    seen = []
    compare = exported.measure_agreement
    monkeypatch.setattr(
        exported,
        'measure_agreement',
        lambda r, m, inputs: seen.append(inputs[0]) or compare(r, m, inputs),
    )
    made = backend('onnxruntime', tiny, kept)
    made.run(np.zeros((1, 3, 64, 96), np.float32))
    x = an_input(tiny, 64, 64)
    made.run(x)
    assert seen[1] is x
    assert np.array_equal(seen[0], exported.photo_input(tiny.network, (1, 3, 64, 96)))


def test_what_is_kept_depends_on_all_code_that_makes_a_network(tmp_path, monkeypatch):
    """Modules of subpackages among it."""
    for folder in exported.SOURCES:
        shutil.copytree(programs.PROJECT / folder, tmp_path / folder)
    monkeypatch.setattr(exported, 'PROJECT', tmp_path)
    digests = {exported.sources_digest.__wrapped__()}
    for module in ('layers/functions.py', 'models/csail.py', 'models/encoders/resnet.py'):
        with open(tmp_path / module, 'a') as file:
            file.write('# changed')
        digests.add(exported.sources_digest.__wrapped__())
    assert len(digests) == 4


def test_numbers_that_are_none_never_agree():
    class Fixed:
        def __init__(self, value):
            self.value = value

        def run(self, x):
            return np.full((1, 2, 3, 4), self.value, np.float32)

    x = np.zeros(1)
    assert exported.measure_agreement(Fixed(5), Fixed(5), [x]).exact
    assert not exported.measure_agreement(Fixed(5), Fixed(np.nan), [x]).exact
    assert not exported.measure_agreement(Fixed(np.inf), Fixed(5), [x]).exact
    assert not exported.measure_agreement(Fixed(5), Fixed(np.inf), [x]).exact
    assert not exported.measure_agreement(Fixed(5), Fixed(5.001), [x]).exact
    assert exported.measure_agreement(Fixed(5), Fixed(5.0001), [x]).exact


class Stub:
    """An export that notes the shapes it computes, and lacks memory for those ``too_large``."""

    used, threads = frozenset({'stub'}), 3

    def __init__(self, known=(), too_large=()):
        self.shapes, self.known, self.too_large = [], known, too_large

    def is_ready(self, shape):
        return shape in self.shapes or shape in self.known

    def reserve(self, shapes):
        pass

    def run(self, x):
        if x.shape in self.too_large:
            raise MemoryError
        self.shapes.append(x.shape)
        return x

    def close(self):
        self.shapes.clear()


def test_auto_compiles_for_the_first_shape_and_for_what_comes_back(tiny):
    x = [an_input(tiny, 32, 32 + 4 * i) for i in range(4)]
    stub = Stub(known=[x[3].shape])
    auto = AutoBackend([lambda: stub], tiny.backend)
    for i in (0, 1, 2):
        auto.run(x[i])
    assert set(stub.shapes) == {x[0].shape}
    assert auto.used == {'stub', 'nnabla'}
    auto.run(x[1])
    assert set(stub.shapes) == {x[0].shape, x[1].shape}
    auto.run(x[3])  # compiled by an earlier process
    assert set(stub.shapes) == {x[0].shape, x[1].shape, x[3].shape}


def test_graphs_that_nnabla_has_computed_with_leave_the_memory(tiny, kept):
    """Those of the comparison, of shapes that do not pay yet, and of what is loaded later."""
    dropped = []
    made = select.create(BackendSettings(), tiny.network, CPU, lambda: dropped.append(1), kept)
    first, second = an_input(tiny), an_input(tiny, 32, 32)
    for x, expected in ((first, {'openvino'}), (second, {'openvino', 'nnabla'})):
        made.run(x)
        assert made.used == expected
        assert not made._nnabla._graphs
    assert len(dropped) == 4  # before a graph is built, and when it is dropped
    made.run(second)
    assert len(dropped) == 6
    assert not made._nnabla._graphs


def spoil(made, shape):
    """Let a runtime meet inputs of a shape with a model of another one."""
    other = exported.export_onnx(made.network, (*shape[:3], shape[3] + 32))
    made._models[shape] = made.runtime.compile(other, None)


@pytest.mark.parametrize('name', EXPORTS)
def test_a_run_that_fails_is_one_line(tiny, kept, name):
    made, x = backend(name, tiny, kept), an_input(tiny)
    spoil(made, x.shape)
    with pytest.raises(
        UserError, match=f'^{name} failed at 64x96 .*; use --backend nnabla'
    ) as error:
        made.run(x)
    assert '\n' not in str(error.value)
    assert 'xpect' in str(error.value)  # the runtime's own reason


def test_auto_goes_on_when_a_run_fails(tiny, kept, log):
    made, x = backend('auto', tiny, kept), an_input(tiny)
    expected = tiny.backend.run(x)
    made.run(x)
    for failing, following in ((EXPORTS[0], EXPORTS[1]), (EXPORTS[1], 'nnabla')):
        assert failing in made.used
        log.clear()
        spoil(made._backend, x.shape)
        np.testing.assert_allclose(made.run(x), expected, rtol=1e-4, atol=1e-4)
        (line,) = (r.getMessage() for r in log.records if r.levelname == 'WARNING')
        assert line.startswith(f'{failing} failed at 64x96 (')
        assert line.endswith('); trying the next backend')
        assert following in made.used
    log.clear()
    assert np.array_equal(made.run(x), expected)
    assert not log.records


def test_what_an_export_lacks_memory_for_is_nnablas(tiny, log):
    """Told once; the export goes on with all else."""
    x, small = an_input(tiny), an_input(tiny, 32, 32)
    stub = Stub(too_large=[x.shape])
    auto = AutoBackend([lambda: stub], tiny.backend)
    for _ in range(2):
        assert np.array_equal(auto.run(x), tiny.backend.run(x))
    for _ in range(2):
        auto.run(small)
    assert stub.shapes == [small.shape]
    assert log.messages == ['stub: not enough memory for 64x96; NNabla computes it']


def test_an_input_that_fits_no_backend_gives_none_up(tiny):
    def no_memory(*args):
        raise RuntimeError('memory error in malloc\nFailed to allocate 10 GB')

    x, small = an_input(tiny), an_input(tiny, 32, 32)
    stub = Stub(too_large=[x.shape])
    auto = AutoBackend([lambda: stub], NnablaBackend(no_memory))
    with pytest.raises(MemoryError, match='Failed to allocate 10 GB'):
        auto.run(x)
    auto.run(small)
    assert stub.shapes == [small.shape]


def test_a_model_that_lacks_memory_gets_that_of_the_others(tiny, kept):
    made, shapes = backend('openvino', tiny, kept), [(64, 96), (32, 32)]
    x, other = (an_input(tiny, *shape) for shape in shapes)
    expected = made.run(x)

    class Large:
        def run(self, x):
            raise MemoryError

    made._models[x.shape] = Large()
    with pytest.raises(MemoryError):
        made.run(x)
    made.run(other)
    assert np.array_equal(made.run(x), expected)
    assert list(made._models) == [x.shape]


SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


@pytest.mark.parametrize('name', [*EXPORTS, 'auto'])
def test_all_scales_of_a_protocol_stay_ready(tiny, kept, name, monkeypatch):
    monkeypatch.setattr(machine, 'free_memory', lambda: 1 << 60)
    other, image = with_backend(name, tiny.network, kept), stand_ins.image(64, 96)
    protocol = Protocol(scales=SCALES, flip=True)
    other.labels(image, protocol)
    runtimes = ['openvino.OpenVINO', 'onnxruntime.ONNXRuntime']
    for failing in (f'engine.backends.{runtime}.{do}' for runtime in runtimes for do in DONE_ONCE):
        monkeypatch.setattr(failing, fail)
    for _ in range(2):
        other.labels(image[::-1], protocol)


DONE_ONCE = 'compile', 'load'


@pytest.mark.parametrize('free, count', [(0, MIN_CACHED_SHAPES), (1 << 60, len(SCALES))])
def test_memory_bounds_the_scales_that_stay_ready(tiny, monkeypatch, free, count):
    monkeypatch.setattr(machine, 'free_memory', lambda: free)
    for _ in range(2):
        tiny.labels(stand_ins.image(64, 96), Protocol(scales=SCALES))
    assert len(tiny.backend._graphs) == count
    tiny.labels(stand_ins.image(200, 200), Protocol(scales=SCALES, window=(32, 32)))
    for width in range(32, 80, 4):  # windows are all of one shape: no more than at first
        tiny.labels(stand_ins.image(32, width))
    assert len(tiny.backend._graphs) == MIN_CACHED_SHAPES


def test_models_of_the_latest_shapes_are_in_memory(tiny, kept, monkeypatch):
    loads = Counter()
    load = openvino.OpenVINO.load
    monkeypatch.setattr(
        openvino.OpenVINO, 'load', lambda self, data: loads.update([1]) or load(self, data)
    )
    made = backend('openvino', tiny, kept)
    shapes = [(32, 32 + 4 * i) for i in range(MIN_CACHED_SHAPES + 1)]
    for shape in [*shapes, *shapes[1:]]:
        made.run(an_input(tiny, *shape))
    assert not loads
    made.run(an_input(tiny, *shapes[0]))
    assert loads[1] == 1
    made.close()
    made.run(an_input(tiny, *shapes[0]))
    assert loads[1] == 2


def hide(monkeypatch, *packages):
    for package in packages:
        monkeypatch.setitem(sys.modules, package, None)


def test_what_is_not_installed_is_told_with_its_pip_line(tiny, kept, monkeypatch, log):
    with pytest.raises(UserError, match='the package tensorrt is not installed: python -m pip'):
        backend('tensorrt', tiny, kept)
    hide(monkeypatch, 'openvino')
    with pytest.raises(UserError, match='openvino is not .*pip install -r requirements.txt'):
        backend('openvino', tiny, kept)
    x = an_input(tiny)
    made = backend('auto', tiny, kept)
    assert 'backend: onnxruntime' in log.text
    assert '(openvino is not installed: python -m pip install -r requirements.txt)' in log.text
    made.run(x)
    assert made.used == {'onnxruntime'}
    hide(monkeypatch, 'onnxruntime')
    log.clear()
    assert isinstance(backend('auto', tiny, kept), NnablaBackend)
    (line,) = log.messages
    assert line.startswith('backend: nnabla (openvino is not installed; onnxruntime is not')


def test_eight_bits_without_nncf(tiny, kept, monkeypatch):
    def version(package):
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(openvino.metadata, 'version', version)
    with pytest.raises(BackendError, match='nncf is not installed: .* -r requirements-deploy.txt'):
        openvino.OpenVINO('int8')


def test_options_that_no_backend_has(tiny, kept, monkeypatch):
    for settings, message in (
        (BackendSettings('nnabla', 'int8'), 'only --backend openvino supports it'),
        (BackendSettings('onnxruntime', 'bfloat16'), 'only --backend openvino supports it'),
        (BackendSettings('nnabla', threads=2), 'NNabla uses one thread'),
        (BackendSettings('auto', threads=0), '--threads must be at least 1'),
    ):
        with pytest.raises(UserError, match=message):
            select.create(settings, tiny.network, CPU, cache=kept)
    half = DeviceChoice('cudnn', 'half')
    with pytest.raises(UserError, match='-t half works with NNabla'):
        select.create(BackendSettings('openvino'), tiny.network, half, cache=kept)
    for name in ('auto', 'openvino'):
        given = BackendSettings(name, 'bfloat16')
        named = '--precision bfloat16' if name == 'auto' else '--backend openvino'
        with pytest.raises(UserError, match=f'^{named}: -t half works with NNabla'):
            select.create(given, tiny.network, half, cache=kept)
    assert isinstance(
        select.create(BackendSettings(), tiny.network, half, cache=kept), NnablaBackend
    )
    gpu = DeviceChoice('cudnn', 'float')
    assert isinstance(
        select.create(BackendSettings(), tiny.network, gpu, cache=kept), NnablaBackend
    )
    with pytest.raises(UserError, match='onnxruntime has no CUDAExecutionProvider: .*-c cpu'):
        select.create(BackendSettings('onnxruntime'), tiny.network, gpu, cache=kept)


@pytest.mark.parametrize('name', EXPORTS)
def test_a_file_that_is_no_network(tiny, kept, name):
    runtime = backend(name, tiny, kept).runtime
    with pytest.raises(BackendError, match=f'{name} does not support this network'):
        runtime.compile(b'no network', None)


def test_threads_reach_openvino(tiny, kept):
    made = backend('openvino', tiny, kept, threads=1)
    for _ in range(2):  # compiled, then from the file
        made.run(an_input(tiny))
        (model,) = made._models.values()
        assert model._compiled.get_property('INFERENCE_NUM_THREADS') == 1
        made = backend('openvino', tiny, kept, threads=1)


def test_threads_that_nobody_uses_are_told(tiny, kept, monkeypatch, log):
    line = '--threads 3 has no effect: NNabla uses one thread'
    for given, here in (
        (DeviceChoice('cudnn', 'half'), 1),
        (DeviceChoice('cudnn', 'float'), 1),
        (CPU, 0),
    ):
        log.clear()
        made = select.create(BackendSettings(threads=3), tiny.network, given, cache=kept)
        assert log.messages.count(line) == here
        assert made.threads == 1  # of what has computed so far
    hide(monkeypatch, 'openvino', 'onnxruntime')
    select.create(BackendSettings(threads=3), tiny.network, CPU, cache=kept)
    assert log.messages.count(line) == 1


def test_threads_of_tensorrt(monkeypatch):
    """They reach ONNX Runtime, for what is left to the CPU; TensorRT itself need not be there."""
    monkeypatch.setitem(sys.modules, 'tensorrt', SimpleNamespace(__version__='10'))
    monkeypatch.setattr(
        'onnxruntime.get_available_providers', lambda: [tensorrt.PROVIDER, 'CUDAExecutionProvider']
    )
    request = RuntimeRequest('float32', 3, DeviceChoice('cudnn', 'float'))
    assert select.make_runtime(registry.registered()['tensorrt'], request).threads == 3


def test_on_host_without_nnabla_on_a_gpu_is_told(tiny, log):
    def release():
        pass

    line = '--on-host has no effect: only NNabla on a GPU resizes on the device'
    for name, on_host, here in (('auto', True, 1), ('nnabla', True, 1), ('auto', False, 0)):
        log.clear()
        loading.use_backend(tiny, BackendSettings(name, on_host=on_host), CPU, release)
        assert log.messages.count(line) == here
    assert tiny.on_device is None
    gpu = DeviceChoice('cudnn', 'float')
    for on_host in (True, False):
        log.clear()
        loading.use_backend(tiny, BackendSettings('nnabla', on_host=on_host), gpu, release)
        assert line not in log.messages
        assert (tiny.on_device is None) == on_host


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / 'photos' / 'some'
    folder.mkdir(parents=True)
    street = image_files.read_image(STREET)
    for i in range(6):
        image_files.write_image(folder / f'{i}.png', street[40 * i : 40 * i + 150, : 200 + i])
    return folder.parent


def test_eight_bits_agree_with_float32_mostly(tiny, kept, photos, monkeypatch, log):
    pytest.importorskip('nncf')
    images = calibration.find_images(tiny.network, {}, str(photos))
    assert len(images.paths) == 6
    x = as_photo(tiny)
    expected = tiny.backend.run(x)
    for turn in range(2):
        made = backend('auto', tiny, kept, precision='int8', images=images)
        found = made.run(x)
        assert not np.array_equal(found, expected)
        assert np.mean(found.argmax(1) == expected.argmax(1)) > 0.8
        assert log.text.count('of labels equal those of float32, on 7 images') == turn + 1
        monkeypatch.setattr(exported, 'export_onnx', fail)
    fewer = calibration.find_images(tiny.network, {}, str(photos / 'some' / '[0-3].png'))
    other = backend('openvino', tiny, kept, precision='int8', images=fewer)
    assert not other.is_ready(x.shape)
    (photos / 'some' / '0.png').write_bytes((photos / 'some' / '1.png').read_bytes())
    changed = calibration.find_images(tiny.network, {}, str(photos))
    assert changed.digest != images.digest


def as_photo(made):
    return exported.photo_input(made.network, (1, 3, 64, 96))


def test_numbers_that_are_none_in_another_precision(tiny, kept, photos, monkeypatch):
    pytest.importorskip('nncf')
    images = calibration.find_images(tiny.network, {}, str(photos))
    made = backend('openvino', tiny, kept, precision='int8', images=images)
    results = iter([exported.Agreement(0, 1, 1), exported.Agreement(np.nan, 1, 0)])
    monkeypatch.setattr(exported, 'measure_agreement', lambda *args: next(results))
    with pytest.raises(DisagreementError, match='--precision int8: .* use float32'):
        made.run(as_photo(tiny))
    assert not kept.folder.exists()


def test_images_for_eight_bits(tiny, photos, working_folder, shared):
    with pytest.raises(UserError, match='--calibration .*: no image found'):
        calibration.find_images(tiny.network, {}, str(photos / '*.gif'))
    camvid = shared / 'data' / 'camvid'
    yaml = programs.PROJECT / 'configs' / 'D3Net_T_camvid.yaml'
    with pytest.raises(UserError, match='or pass images with --calibration'):
        calibration.find_images(tiny.network, configs.load(yaml, []))
    found = calibration.find_images(tiny.network, configs.load(yaml, [f'data_dir={camvid}']))
    training = [*(camvid / 'train').iterdir(), *(camvid / 'val').iterdir()]  # of this config
    assert sorted(found.paths) == sorted(training)
    many = calibration.Calibration(tiny.network, list(range(200)))
    assert (len(set(many.paths)), many.paths[0], many.paths[-1]) == (64, 0, 196)


def test_bfloat16_where_the_cpu_has_it(tiny, kept, monkeypatch, log):
    x = as_photo(tiny)
    expected = tiny.backend.run(x)
    try:
        made = backend('openvino', tiny, kept, precision='bfloat16')
    except BackendError as error:
        assert 'neither AVX512-BF16 nor AMX' in str(error)
        pytest.skip('no bfloat16 on this CPU')
    found = made.run(x)
    assert 'bfloat16: ' in log.text
    assert not np.array_equal(found, expected)
    np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())
    core = type('Core', (), {'get_property': lambda *args: ['FP32']})
    monkeypatch.setattr('openvino.Core', core)
    with pytest.raises(BackendError, match='neither AVX512-BF16 nor AMX'):
        backend('openvino', tiny, kept, precision='bfloat16')
