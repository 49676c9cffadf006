"""int8 and bfloat16: calibration images, agreement with float32, requirements."""

from importlib import metadata

import numpy as np
import pytest

from common.errors import UserError
from datasets import image_files
from engine import config as configs
from engine.backends import calibration, exported, openvino
from engine.backends.errors import BackendError, DisagreementError
from support import backend_runs, programs
from support.backend_runs import STREET, create_backend


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / 'photos' / 'some'
    folder.mkdir(parents=True)
    street = image_files.read_image(STREET)
    for i in range(6):
        image_files.write_image(folder / f'{i}.png', street[40 * i : 40 * i + 150, : 200 + i])
    return folder.parent


def as_photo(made):
    return exported.photo_input(made.network, (1, 3, 64, 96))


def test_int8_without_nncf_is_reported_with_the_pip_command(tiny, disk_cache, monkeypatch):
    def version(package):
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(openvino.metadata, 'version', version)
    with pytest.raises(BackendError, match='nncf is not installed: .* -r requirements-deploy.txt'):
        openvino.OpenVINO('int8')


def test_int8_agrees_with_float32_on_most_labels(tiny, disk_cache, photos, monkeypatch, log):
    pytest.importorskip('nncf')
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


def test_nan_in_a_reduced_precision_is_rejected(tiny, disk_cache, photos, monkeypatch):
    pytest.importorskip('nncf')
    images = calibration.find_images(tiny.network, {}, str(photos))
    made = create_backend('openvino', tiny, disk_cache, precision='int8', images=images)
    results = iter([exported.Agreement(0, 1, 1), exported.Agreement(np.nan, 1, 0)])
    monkeypatch.setattr(exported, 'measure_agreement', lambda *args: next(results))
    with pytest.raises(DisagreementError, match='--precision int8: .* use float32'):
        made.run(as_photo(tiny))
    assert not disk_cache.folder.exists()


def test_calibration_images_come_from_a_pattern_or_data_set(tiny, photos, working_folder, shared):
    with pytest.raises(UserError, match='--calibration .*: no image found'):
        calibration.find_images(tiny.network, {}, str(photos / '*.gif'))
    camvid = shared / 'data' / 'camvid'
    yaml = programs.PROJECT / 'configs' / 'D3Net_T_camvid.yaml'
    with pytest.raises(UserError, match='or pass images with --calibration'):
        calibration.find_images(tiny.network, configs.load(yaml, []))
    found = calibration.find_images(tiny.network, configs.load(yaml, [f'data_dir={camvid}']))
    training = [*(camvid / 'train').iterdir(), *(camvid / 'val').iterdir()]  # its training split
    assert sorted(found.paths) == sorted(training)
    many = calibration.Calibration(tiny.network, list(range(200)))
    assert (len(set(many.paths)), many.paths[0], many.paths[-1]) == (64, 0, 196)


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
