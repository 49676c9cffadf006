"""The server under load: every answer is that of infer.py, and its memory does not grow."""

import pytest

from benchmarks import serving
from common.errors import UserError
from datasets import image_files
from support import stand_ins
from support.tiny_config import tiny_camvid

pytestmark = pytest.mark.bench
SIZES = (40, 56), (64, 96), (60, 80)


@pytest.fixture
def images(tmp_path):
    """Files of several sizes."""
    paths = [tmp_path / f'{height}.png' for height, _ in SIZES]
    for path, size in zip(paths, SIZES):
        image_files.write_image(path, stand_ins.image(*size))
    return paths


def test_500_requests_of_8_clients(images):
    ((result,), facts) = serving.measure_serving(list(map(str, tiny_camvid())), images, 8, 500)
    assert facts['answers'] == 'all 503 equal those of infer.py'
    early, half, late = (result.details[f'MiB at {count}'] for count in (50, 250, 500))
    assert late < 1.05 * early and half < 1.05 * early
    assert 0 < result.fastest_ms <= result.median_ms <= result.details['p95 ms']
    assert result.details['requests/s'] > 0


def test_a_server_that_does_not_start(images):
    with pytest.raises(UserError, match='infer.py failed: error: .*no such file of weights'):
        serving.measure_serving(['-m', 'nothing.h5'], images, 1, 1)
