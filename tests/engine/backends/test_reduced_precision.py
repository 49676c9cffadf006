"""int8 and bfloat16: agreement with float32."""

import numpy as np
import pytest

from engine.backends import calibration, exported
from engine.backends.errors import BackendError, DisagreementError
from support import backend_runs, programs
from support.backend_runs import create_backend


def as_photo(made):
    return exported.photo_input(made.network, (1, 3, 64, 96))


@programs.needs_nncf
def test_int8_agrees_with_float32_on_most_labels(tiny, disk_cache, photos, monkeypatch, log):
    images = calibration.find_images(tiny.network, {}, str(photos))
    assert len(images.paths) == 6
    x = as_photo(tiny)
    expected = tiny.backend.run(x)
    for turn in range(2):
        made = create_backend('auto', tiny, disk_cache, precision='int8', images=images)
        found = made.run(x)
        assert not np.array_equal(found, expected)
        assert np.mean(found.argmax(1) == expected.argmax(1)) > 0.8
        assert log.text.count('of labels equal those of float32, on 7 images') == turn + 1
        monkeypatch.setattr(exported, 'export_onnx', backend_runs.fail_if_called)
    fewer = calibration.find_images(tiny.network, {}, str(photos / 'some' / '[0-3].png'))
    other = create_backend('openvino', tiny, disk_cache, precision='int8', images=fewer)
    assert not other.is_ready(x.shape)
    (photos / 'some' / '0.png').write_bytes((photos / 'some' / '1.png').read_bytes())
    changed = calibration.find_images(tiny.network, {}, str(photos))
    assert changed.digest != images.digest


@programs.needs_nncf
def test_nan_in_a_reduced_precision_is_rejected(tiny, disk_cache, photos, monkeypatch):
    images = calibration.find_images(tiny.network, {}, str(photos))
    made = create_backend('openvino', tiny, disk_cache, precision='int8', images=images)
    results = iter([exported.Agreement(0, 1, 1), exported.Agreement(np.nan, 1, 0)])
    monkeypatch.setattr(exported, 'measure_agreement', lambda *args: next(results))
    with pytest.raises(DisagreementError, match='--precision int8: .* use float32'):
        made.run(as_photo(tiny))
    assert not disk_cache.folder.exists()


def test_bfloat16_agrees_where_the_cpu_supports_it(tiny, disk_cache, monkeypatch, log):
    x = as_photo(tiny)
    expected = tiny.backend.run(x)
    try:
        made = create_backend('openvino', tiny, disk_cache, precision='bfloat16')
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
        create_backend('openvino', tiny, disk_cache, precision='bfloat16')
