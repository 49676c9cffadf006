"""The benchmark of training: recompute policies, precisions and layouts."""

import json

import pytest
import yaml

from benchmarks import training
from layers.build import RECOMPUTE_POLICIES
from support import programs, stand_ins

pytestmark = pytest.mark.bench


def test_recompute_policies_save_memory_and_keep_the_losses(tmp_path):
    config, report = tmp_path / 'tiny.yaml', tmp_path / 'report.json'
    keys = {**stand_ins.TINY, 'n_blocks': [9, 3], 'lr': 0.1, 'max_iter': 1000}
    config.write_text(yaml.safe_dump(keys))
    process = programs.run(
        '-m', 'benchmarks', 'training', '-cfg', config, '-c', 'cpu', '--size', '256x384',
        '--batch-size', 2, '--rounds', 1, '--json', report,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert 'nnabla' not in process.stderr
    document = json.loads(report.read_text())
    results = {result['name']: result for result in document['results']}
    assert list(results) == list(RECOMPUTE_POLICIES)
    assert 'after 4 steps' in document['settings']['loss']
    assert 'the same, bit for bit' in document['settings']['loss']
    assert document['settings']['batch'] == '2 images of 256x384'
    assert len({result['details']['loss'] for result in results.values()}) == 1
    peaks = {name: result['details']['MiB'] for name, result in results.items()}
    assert peaks['bn_relu'] < peaks['none'] - 3
    shares = {name: result['details']['of first'] for name, result in results.items()}
    assert shares == {name: peak / peaks['none'] for name, peak in peaks.items()}
    assert f'{peaks["none"]:.1f}' in process.stdout


def test_different_losses_are_reported():
    losses = {'none': [1.0, 2.0], 'blocks': [1.0, 2.5]}
    assert 'after 2 steps; those of the recompute policies differ by up to 0.5' in (
        training._describe_losses(losses)
    )


def test_a_gpu_adds_precisions_and_layouts():
    assert list(training.training_contestants('cpu')) == list(RECOMPUTE_POLICIES)
    others = list(training.training_contestants('cudnn').items())[4:]
    assert [name for name, _ in others] == ['half', 'channel_last', 'half, channel_last', 'TF32']
    assert all(way.recompute == 'none' for _, way in others)
    assert list(training.peer_forms('cpu')) == ['pytorch contiguous', 'pytorch channels_last']
    assert [precision for precision, _ in training.peer_forms('cudnn').values()] == [
        'float32', 'float32', 'float16', 'float16',
    ]  # fmt: skip
