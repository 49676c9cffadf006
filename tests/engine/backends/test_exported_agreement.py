"""Exported networks compute what NNabla computes, or are rejected."""

from pathlib import Path

import numpy as np
import pytest

import models
from common.errors import UserError
from datasets import image_files
from engine.backends import exported
from engine.backends.errors import BackendError, DisagreementError
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
        lambda r, m, inputs: seen.append(inputs[0]) or compare(r, m, inputs),
    )
    made = create_backend('onnxruntime', tiny, disk_cache)
    made.run(np.zeros((1, 3, 64, 96), np.float32))
    x = random_input(tiny, 64, 64)
    made.run(x)
    assert seen[1] is x
    assert np.array_equal(seen[0], exported.photo_input(tiny.network, (1, 3, 64, 96)))


def test_nan_and_infinity_never_agree():
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


@pytest.mark.parametrize('name', EXPORTS)
def test_a_failing_run_raises_a_one_line_error(tiny, disk_cache, name):
    made, x = create_backend(name, tiny, disk_cache), random_input(tiny)
    backend_runs.replace_model_by_another_shape(made, x.shape)
    with pytest.raises(
        UserError, match=f'^{name} failed at 64x96 .*; use --backend nnabla'
    ) as error:
        made.run(x)
    assert '\n' not in str(error.value)
    assert 'xpect' in str(error.value)  # part of the runtime's own message


@pytest.mark.parametrize('name', EXPORTS)
def test_an_invalid_onnx_file_is_rejected(tiny, disk_cache, name):
    runtime = create_backend(name, tiny, disk_cache).runtime
    with pytest.raises(BackendError, match=f'{name} does not support this network'):
        runtime.compile(b'no network', None)


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
