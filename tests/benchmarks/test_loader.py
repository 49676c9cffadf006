"""The benchmark of the loader: its contestants, images per second and memory."""

import json

import numpy as np
import pytest

from support import programs

pytestmark = pytest.mark.bench


def test_the_loader_is_compared_with_conventional_pipelines(camvid, tmp_path):
    report = tmp_path / 'report.json'
    process = programs.run(
        '-m', 'benchmarks', 'loader', '-d', camvid,
        '-cfg', 'configs/D3Net_T_camvid.yaml',
        '--rounds', '1', '--batches', '1', '--batch-size', '1', '--json', report,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    document = json.loads(report.read_text())
    count = len(list((camvid / 'train').iterdir()))
    expected = f'{min(count, 16)} files repeated to 16, from the page cache'
    assert document['settings']['data set'] == expected
    assert f'data set: {expected}' in process.stdout
    results = {each['name']: each for each in document['results']}
    assert list(results) == [
        'data_iterator_simple', 'loader, 1 worker', 'loader, 2 workers', 'packed, 1 worker',
        'packed, 2 workers', 'decoding only', 'checksums only',
    ]  # fmt: skip
    for result in results.values():
        assert np.isclose(result['details']['images/s'], 1000 / result['median_ms'])
        assert result['details']['MiB'] > 20
