"""The benchmark of a large image compares auto with windows and with NNabla."""

import json

import numpy as np
import pytest

from benchmarks import panorama
from support import programs

pytestmark = pytest.mark.bench


def test_all_ways_are_measured(tmp_path):
    report = tmp_path / 'report.json'
    process = programs.run(
        '-m', 'benchmarks', 'panorama', '--large-size', '64x300', '--rounds', '1',
        '-cfg', 'configs/D3Net_T_camvid.yaml', '--json', report,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    document = json.loads(report.read_text())
    names = [result['name'] for result in document['results']]
    assert names == ['auto', 'auto, windows of 64x64', 'nnabla']
    share = document['settings']['labels as in NNabla, auto']
    assert float(share.rstrip('%')) > 99.9


@pytest.mark.parametrize('size', [(40, 500), (500, 40), (700, 900)])
def test_the_image_repeats_a_photo(size):
    image = panorama.panorama(size)
    assert (image.shape, image.dtype) == ((*size, 3), np.uint8)
    assert image.std() > 20
