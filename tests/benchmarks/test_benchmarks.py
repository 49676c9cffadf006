"""The frame of the benchmarks."""

import json
import subprocess
import sys

import numpy as np
import pytest
import yaml

from benchmarks import harness, training
from benchmarks.memory import peak_mib
from layers.build import RECOMPUTE_POLICIES
from support import programs, stand_ins


def test_contestants_take_turns():
    calls = []
    results = harness.compare_in_turns(
        {'a': lambda: calls.append('a'), 'b': lambda: calls.append('b')}, rounds=3, warm_up=2
    )
    assert calls == ['a', 'b'] * 5
    assert [result.name for result in results] == ['a', 'b']
    assert results[0].ratio == 1
    assert results[1].fastest_ms <= results[1].median_ms <= results[1].slowest_ms


def test_blocks_compares_the_two_graphs(tmp_path):
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


def test_norms_compares_both_batch_norms(tmp_path):
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


def test_contestants_with_a_clock_of_their_own():
    results = harness.compare_in_turns(
        {'a': lambda: 0.5, 'b': lambda: 0.25}, rounds=3, own_clock=True
    )
    assert [result.median_ms for result in results] == [500, 250]
    assert results[1].ratio == 2


def test_memory_counts_children():
    """A child that fills 100 MiB, compared with one that does not."""

    def child(mib):
        fill = f'x = bytearray({mib} << 20); import time; time.sleep(0.4)'
        return lambda: subprocess.run([sys.executable, '-S', '-c', fill], check=True)

    assert 90 < peak_mib(child(100)) - peak_mib(child(0)) < 115


def test_loader_compares_with_the_usual_pipeline(shared, tmp_path):
    report = tmp_path / 'report.json'
    process = programs.run(
        '-m', 'benchmarks', 'loader', '-d', shared / 'data' / 'camvid',
        '-cfg', 'configs/D3Net_T_camvid.yaml',
        '--rounds', '1', '--batches', '1', '--batch-size', '1', '--json', report,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    document = json.loads(report.read_text())
    count = len(list((shared / 'data/camvid/train').iterdir()))
    expected = f'{min(count, 16)} files repeated to 16, from the page cache'
    assert document['settings']['data set'] == expected
    assert f'data set: {expected}' in process.stdout
    results = {each['name']: each for each in document['results']}
    assert list(results) == [
        'data_iterator_simple', 'loader, 1 worker', 'loader, 2 workers', 'packed, 1 worker',
        'packed, 2 workers', 'decoding only',
    ]  # fmt: skip
    for result in results.values():
        assert np.isclose(result['details']['images/s'], 1000 / result['median_ms'])
        assert result['details']['MiB'] > 20


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / 'tiny.yaml'
    keys = {**stand_ins.TINY, 'n_blocks': [9, 3], 'lr': 0.1, 'max_iter': 1000}
    path.write_text(yaml.safe_dump(keys))
    return path


def test_training_compares_the_recompute_policies(tiny, tmp_path):
    report = tmp_path / 'report.json'
    process = programs.run(
        '-m', 'benchmarks', 'training', '-cfg', tiny, '-c', 'cpu', '--size', '256x384',
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


def test_losses_that_differ_are_told():
    losses = {'none': [1.0, 2.0], 'blocks': [1.0, 2.5]}
    assert 'after 2 steps; those of the recompute policies differ by up to 0.5' in (
        training._describe_losses(losses)
    )


def test_on_a_gpu_precision_and_layout_are_compared_too():
    assert list(training.training_contestants('cpu')) == list(RECOMPUTE_POLICIES)
    others = list(training.training_contestants('cudnn').items())[4:]
    assert [name for name, _ in others] == ['half', 'channel_last', 'half, channel_last', 'TF32']
    assert all(way.recompute == 'none' for _, way in others)
    assert list(training.peer_forms('cpu')) == ['pytorch contiguous', 'pytorch channels_last']
    assert [precision for precision, _ in training.peer_forms('cudnn').values()] == [
        'float32', 'float32', 'float16', 'float16',
    ]  # fmt: skip


def test_the_peak_of_a_process_is_its_own():
    """It stays when the memory is given back, and is not that of the process that started it."""
    code = 'from benchmarks.memory import own_peak_mib; before = own_peak_mib()\n'
    code += 'x = bytearray(300 << 20); del x; print(before, own_peak_mib())'
    before, after = map(float, programs.run('-c', code).stdout.split())
    assert before < 50
    assert 295 < after - before < 310


@pytest.mark.parametrize(
    'options, message',
    [
        (['--size', '4x4'], 'cannot take 4x4 pixels'),
        (['--size', '64'], '--size 64: write it as HEIGHTxWIDTH'),
        (['--batches', '2'], '--batches is an option of loader; training does not have it'),
    ],
)
def test_bad_options_of_training(options, message, tiny):
    process = programs.run('-m', 'benchmarks', 'training', '-cfg', tiny, *options)
    assert message in programs.error_line(process)


@pytest.mark.parametrize(
    'options, message',
    [
        (['--size', 'big'], '--size big: write it as HEIGHTxWIDTH'),
        (['--rounds', '0'], '--rounds must be at least 1'),
        (['--size', '8x8'], 'cannot take 8x8 pixels'),
        (['--batches', '8'], '--batches is an option of loader; blocks does not have it'),
        (
            ['-d', 'data'],
            '--data-dir is an option of inference and loader; blocks does not have it',
        ),
    ],
)
def test_bad_options_of_blocks(options, message):
    process = programs.run('-m', 'benchmarks', 'blocks', *options)
    assert message in programs.error_line(process)


@pytest.mark.parametrize(
    'options, message',
    [
        (['--batch-size', '0'], '--batch-size must be at least 1'),
        (
            ['--size', '64x64'],
            '--size is an option of blocks, inference, norms and training; loader does not',
        ),
        (['-c', 'cpu'], '--context is an option of blocks, inference and training; loader does'),
    ],
)
def test_bad_options_of_loader(options, message):
    process = programs.run('-m', 'benchmarks', 'loader', *options)
    assert message in programs.error_line(process)


@pytest.mark.parametrize(
    'augmentation, keys',
    [
        ('short_sides', 'short_sides: [100, 200]'),
        ('resize_crop', 'resize_height: 800\nresize_width: 1000'),
    ],
)
def test_only_scale_crop_has_a_usual_pipeline(augmentation, keys, shared, tmp_path):
    config = tmp_path / 'config.yaml'
    base = programs.PROJECT / 'configs/D3Net_T_camvid.yaml'
    config.write_text(f'_base_: {base}\naugmentation: {augmentation}\n{keys}\n')
    process = programs.run(
        '-m', 'benchmarks', 'loader', '-d', shared / 'data/camvid', '-cfg', config
    )
    expected = f'augmentation: {augmentation} has no conventional pipeline'
    assert expected in programs.error_line(process)
