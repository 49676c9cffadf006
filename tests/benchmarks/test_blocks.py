"""The benchmark of D2 blocks compares two graphs with equal logits."""

import json

import pytest

from support import programs

pytestmark = pytest.mark.bench


def test_the_merged_graph_is_smaller_and_equal(tmp_path):
    report = tmp_path / 'report.json'
    process = programs.run(
        '-m', 'benchmarks', 'blocks', '--size', '32x48', '--rounds', '2', '-c', 'cpu',
        '-cfg', 'configs/D3Net_T_camvid.yaml', '--json', report,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    document = json.loads(report.read_text())
    assert [result['name'] for result in document['results']] == ['plain', 'merged']
    settings = document['settings']
    assert settings['functions, merged'] < settings['functions, plain']
    assert settings['largest difference'] == 0
    assert document['machine']['CPU'] in process.stdout
