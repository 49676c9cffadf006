"""The benchmark of batch norms measures the project's and NNabla's."""

import json

import pytest

from support import programs

pytestmark = pytest.mark.bench


def test_both_batch_norms_are_measured(tmp_path):
    report = tmp_path / 'report.json'
    process = programs.run(
        '-m', 'benchmarks', 'norms', '--size', '32x48', '--rounds', '2',
        '-cfg', 'configs/D3Net_T_camvid.yaml', '--json', report,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    document = json.loads(report.read_text())
    names = [result['name'] for result in document['results']]
    assert names == ["NNabla's batch norm", "the project's"]
    assert document['settings']['batch'] == '2 images of 32x48'
