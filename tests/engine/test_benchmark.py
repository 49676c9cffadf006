"""The frame of the benchmarks."""

import json

import pytest

import helpers
from engine.benchmark import frame


def test_contestants_take_turns():
    calls = []
    results = frame.compare(
        {'a': lambda: calls.append('a'), 'b': lambda: calls.append('b')}, rounds=3, warm_up=2
    )
    assert calls == ['a', 'b'] * 5
    assert [result.name for result in results] == ['a', 'b']
    assert results[0].ratio == 1
    assert results[1].fastest_ms <= results[1].median_ms <= results[1].slowest_ms


def test_blocks_compares_the_two_graphs(tmp_path):
    report = tmp_path / 'report.json'
    process = helpers.run(
        '-m', 'engine.benchmark', 'blocks', '--size', '32x48', '--rounds', '2', '-c', 'cpu',
        '-cfg', 'configs/D3Net_T_camvid.yaml', '--json', report,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    document = json.loads(report.read_text())
    assert [result['name'] for result in document['results']] == ['plain', 'merged']
    settings = document['settings']
    assert settings['functions, merged'] < settings['functions, plain']
    assert settings['largest difference'] == 0
    assert document['machine']['CPU'] in process.stdout


@pytest.mark.parametrize(
    'options, message',
    [
        (['--size', 'big'], '--size big: write it as HEIGHTxWIDTH'),
        (['--rounds', '0'], '--rounds must be at least 1'),
        (['--size', '8x8'], 'cannot take 8x8 pixels'),
    ],
)
def test_bad_options(options, message):
    process = helpers.run('-m', 'engine.benchmark', 'blocks', *options)
    assert message in helpers.error_line(process)
