"""Exported networks compute what NNabla computes, or are rejected."""

import shutil
from collections import Counter
from pathlib import Path

import nnabla as nn
import numpy as np
import pytest

import models
from common import machine
from datasets import image_files
from engine.backends import exported
from engine.backends.errors import DisagreementError
from engine.inference import predictor
from engine.inference.test_time import Protocol
from support import backend_runs, programs, stand_ins
from support.backend_runs import EXPORTS, STREET, create_backend, random_input


@pytest.mark.parametrize('name', [*EXPORTS, 'auto'])
@pytest.mark.parametrize('size', [(61, 83), (1, 40)])
def test_every_test_time_protocol_agrees_with_nnabla(tiny, disk_cache, name, size):
    other, image = (
        backend_runs.predictor_with(name, tiny.network, disk_cache),
        stand_ins.image(*size),
    )
    for protocol in (
        Protocol(),
        Protocol(scales=(0.5, 1.7), flip=True),
        Protocol(window=(48, 32), scales=(1.5,), flip=True),
    ):
        expected = tiny.probabilities(image, protocol)
        np.testing.assert_allclose(other.probabilities(image, protocol), expected, atol=1e-5)
        assert np.mean(other.labels(image, protocol) == tiny.labels(image, protocol)) > 0.999


@pytest.mark.parametrize('size', [(97, 131), (96, 128)])
def test_the_trained_network_agrees_on_a_real_photo(disk_cache, size):
    network = models.create('d3net_t', num_classes=11)
    nnabla = predictor.Predictor(network)
    models.weights.load(programs.PROJECT / 'resources' / 'D3Net_T_camvid.h5')
    image = image_files.read_image(STREET)[100 : 100 + size[0], 200 : 200 + size[1]]
    expected = nnabla.logits(image)
    for name in EXPORTS:
        found = backend_runs.predictor_with(name, network, disk_cache).logits(image)
        tolerance = 1e-5 * np.abs(expected).max()
        np.testing.assert_allclose(found, expected, atol=tolerance, err_msg=name)
        assert np.mean(found.argmax(0) == expected.argmax(0)) > 0.9999, name


@pytest.mark.parametrize('name', EXPORTS)
def test_a_batch_gives_the_results_of_single_images(tiny, disk_cache, name):
    x = np.concatenate([random_input(tiny, seed=seed) for seed in range(3)])
    expected = np.concatenate([tiny.backend.run(x[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(
        create_backend(name, tiny, disk_cache).run(x), expected, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize('name', EXPORTS)
def test_a_disagreeing_export_is_rejected_and_kept_for_inspection(
    tiny, disk_cache, name, perturbed
):
    with pytest.raises(
        DisagreementError, match=f'{name} disagrees with NNabla .* kept as'
    ) as raised:
        create_backend(name, tiny, disk_cache).run(random_input(tiny))
    path = Path(str(raised.value).split('kept as ')[1])
    assert path.parent == disk_cache.folder
    import onnx

    onnx.checker.check_model(onnx.load(path))
    with pytest.raises(DisagreementError):  # the next start rejects it as well
        create_backend(name, tiny, disk_cache).run(random_input(tiny))


def test_a_photo_replaces_a_flat_image_in_the_comparison(tiny, disk_cache, monkeypatch):
    seen = []
    compare = exported.measure_agreement
    monkeypatch.setattr(
        exported,
        'measure_agreement',
        lambda r, m, inputs, tasks: seen.append(inputs[0]) or compare(r, m, inputs, tasks),
    )
    made = create_backend('onnxruntime', tiny, disk_cache)
    made.run(np.zeros((1, 3, 64, 96), np.float32))
    x = random_input(tiny, 64, 64)
    made.run(x)
    assert seen[1] is x
    assert np.array_equal(seen[0], exported.photo_input(tiny.network, (1, 3, 64, 96)))


def test_a_part_of_a_large_input_is_compared(tiny, disk_cache, small_parts, monkeypatch, log):
    """NNabla would need too long for all of it."""
    x, seen = random_input(tiny, 150, 97), []
    run = tiny.backend.__class__.run
    monkeypatch.setattr(
        tiny.backend.__class__, 'run', lambda self, x: seen.append(x.shape) or run(self, x)
    )
    made = create_backend('openvino', tiny, disk_cache)
    monkeypatch.setattr(exported, 'MAX_COMPARISON_SECONDS', 0)
    found = made.run(x)
    assert set(seen) == {(1, 3, 22, 17)}
    np.testing.assert_allclose(found, tiny.backend.run(x), rtol=1e-4, atol=1e-4)
    first, *_ = [m for m in log.messages if 'openvino: ' in m and 'pil' in m]
    assert first == 'openvino: compiling for 150x97 and comparing with NNabla'
    assert 'comparing 22x17 pixels, as NNabla would take ' in log.text
    assert 's, agrees with NNabla on 22x17 pixels: largest difference ' in log.text
    monkeypatch.setattr(exported, 'MAX_COMPARISON_SECONDS', 100)
    create_backend('onnxruntime', tiny, disk_cache).run(x)
    assert seen[-1] == x.shape


def test_an_export_that_disagrees_on_a_part_is_rejected(
    tiny, disk_cache, small_parts, perturbed, monkeypatch
):
    monkeypatch.setattr(exported, 'MAX_COMPARISON_SECONDS', 0)
    with pytest.raises(DisagreementError, match='disagrees with NNabla for d3net at 22x17: '):
        create_backend('openvino', tiny, disk_cache).run(random_input(tiny, 150, 97))


def test_nan_and_infinity_never_agree_with_numbers():
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
    assert not exported.measure_agreement(Fixed(np.inf), Fixed(-np.inf), [x]).exact
    assert not exported.measure_agreement(Fixed(np.nan), Fixed(5), [x]).exact


def test_the_same_nan_and_infinity_agree():
    """Both come from weights that have them."""

    class Logits:
        def __init__(self, *values):
            self.values = np.array([[values]], np.float32)

        def run(self, x):
            return self.values

    one, other = (Logits(np.nan, np.inf, -np.inf, 5 + error) for error in (0, 0.1))
    assert exported.measure_agreement(one, one, [np.zeros(1)]).exact
    agreement = exported.measure_agreement(one, other, [np.zeros(1)])
    assert (round(agreement.max_difference, 4), agreement.max_logit) == (0.1, 5)


def test_models_of_other_shapes_are_released_when_memory_runs_out(tiny, disk_cache):
    made, shapes = create_backend('openvino', tiny, disk_cache), [(64, 96), (32, 32)]
    x, other = (random_input(tiny, *shape) for shape in shapes)
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


def test_the_cache_key_covers_weights_shape_backend_and_versions(tiny, disk_cache, monkeypatch):
    """Each change of weights, hyper-parameters, shape, backend or version compiles again."""
    folder = disk_cache.folder

    def files_after(network, name='onnxruntime', size=(64, 96)):
        made = predictor.Predictor(network)
        create_backend(name, made, disk_cache).run(random_input(made, *size))
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
    monkeypatch.setattr(exported, 'sources_digest', lambda: 'newer')
    assert files_after(stand_ins.tiny(channels=12)) == 5  # replaces the old file
    assert files_after(stand_ins.tiny(channels=12)) == 5
    assert calls['export'] == 1
    monkeypatch.setattr(machine, 'cpu', lambda: 'another')
    files_after(stand_ins.tiny(channels=12))
    assert calls['export'] == 1  # an ONNX file is valid for any CPU
    files_after(stand_ins.tiny(channels=12), 'openvino')
    assert calls['export'] == 2


def test_the_source_digest_covers_all_modules(tmp_path, monkeypatch):
    """Including modules of subpackages."""
    for folder in exported.SOURCE_FOLDERS:
        shutil.copytree(programs.PROJECT / folder, tmp_path / folder)
    monkeypatch.setattr(exported, 'PROJECT', tmp_path)
    digests = {exported.sources_digest.__wrapped__()}
    for module in ('layers/functions.py', 'models/csail.py', 'models/encoders/resnet.py'):
        with open(tmp_path / module, 'a') as file:
            file.write('# changed')
        digests.add(exported.sources_digest.__wrapped__())
    assert len(digests) == 4
