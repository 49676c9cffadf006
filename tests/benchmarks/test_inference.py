"""The benchmark of inference: contestants, columns and exclusions."""

import json
import os

import pytest

import models
from benchmarks import contestants, inference, inference_columns
from benchmarks.contestants import InferenceContestant
from common import machine
from engine import config as configs
from models import complexity
from support import programs

pytestmark = pytest.mark.bench


def run_inference(*options):
    """Run the benchmark of inference with one round on the CPU."""
    return programs.run('-m', 'benchmarks', 'inference', *options, '-c', 'cpu', '--rounds', 1)


def test_networks_and_backends_are_compared(tiny, tmp_path):
    report, other = tmp_path / 'report.json', 'configs/D3Net_T_camvid.yaml'
    process = run_inference(
        '-cfg', tiny, other, '--size', '64x96', '--json', report,
        '--precision', 'float32', 'float16',
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    document = json.loads(report.read_text())
    settings, results = document['settings'], {r['name']: r for r in document['results']}
    assert list(results) == [
        'tiny: nnabla plain float32', 'tiny: nnabla float32', 'tiny: auto float32',
        'D3Net_T_camvid: nnabla plain float32', 'D3Net_T_camvid: nnabla float32',
        'D3Net_T_camvid: auto float32',
    ]  # fmt: skip
    assert settings['weights, tiny'] == 'random, seed 0'
    assert settings['weights, D3Net_T_camvid'] == 'D3Net_T_camvid.h5'
    assert settings['left out, nnabla float16'] == 'NNabla computes in float32 only on a CPU'
    assert settings['threads'] == machine.threads()
    assert settings['precision'] == 'float32, float16'
    for name, result in results.items():
        details = result['details']
        assert details['e2e ms'] > result['median_ms'] > 0
        assert details['FPS'] == pytest.approx(1000 / result['median_ms'])
        assert details['MiB'] > 50 and details['start s'] > 0
        assert details['differs'] <= contestants.LOGITS_TOLERANCE
        assert (details['again s'] is None) == ('nnabla' in name)
        prefix = name.split(':')[0]
        for column, base in (('x plain', 'nnabla plain'), ('x nnabla', 'nnabla')):
            first = results[f'{prefix}: {base} float32']['median_ms']
            assert details[column] == pytest.approx(first / result['median_ms'])
        assert details['x pytorch'] is None and details['x float32'] == 1
        config = 'configs/D3Net_T_camvid.yaml' if prefix == 'D3Net_T_camvid' else tiny
        gmacs = complexity.measure_network(models.create(configs.load(config)), (64, 96)).gmacs
        assert details['GMAC/s'] == pytest.approx(1000 * gmacs / result['median_ms'])
        assert details['of limit'] > 0
    assert 'D3Net_T_camvid: auto float32' in process.stdout


@pytest.mark.parametrize('with_data', (False, True))
def test_int8_is_calibrated_on_the_photo_or_a_data_set(with_data, camvid, tmp_path):
    report = tmp_path / 'report.json'
    data = ['-d', camvid] if with_data else []
    process = run_inference(
        '-cfg', 'configs/D3Net_T_camvid.yaml', '--size', '64x96', '--json', report, *data,
        '--backend', 'auto', '--precision', 'float32', 'int8', '--seconds', '0',
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    document = json.loads(report.read_text())
    _, reduced = document['results']
    expected = '4 training images of camvid' if with_data else 'street.jpg'
    assert document['settings']['int8'] == f'ranges from {expected}'
    assert reduced['details']['x float32'] == pytest.approx(reduced['ratio'])
    assert contestants.LOGITS_TOLERANCE < reduced['details']['differs'] < 0.5


def test_only_d3net_has_a_plain_graph(tmp_path):
    report = tmp_path / 'report.json'
    process = run_inference(
        '-cfg', 'configs/DABNet_E_cityscapes.yaml', '--size', '64x128', '--json', report,
        '--backend', 'plain', 'nnabla', '--seconds', '0',
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    document = json.loads(report.read_text())
    assert [result['name'] for result in document['results']] == ['nnabla float32']
    assert 'is the published one' in document['settings']['left out, nnabla plain float32']


def test_speeds_are_medians_of_the_ratios_in_each_turn():
    """PyTorch's baseline has the same precision, or float32 where that is missing."""
    device = {
        'nnabla plain float32': [8.0, 16.0, 8.0],
        'nnabla float32': [4.0, 8.0, 8.0],
        'auto float32': [1.0, 2.0, 1.0],
        'pytorch channels_last float32': [2.0, 4.0, 2.0],
        'pytorch channels_last bfloat16': [1.0, 2.0, 1.0],
        'auto bfloat16': [0.5, 1.0, 0.5],
        'auto int8': [0.25, 0.5, 0.25],
    }
    columns = ('x plain', 'x nnabla', 'x pytorch', 'x float32')
    for precision, expected in (
        ('float32', (8, 4, 2, 1)),
        ('bfloat16', (16, 8, 2, 2)),
        ('int8', (32, 16, 8, 4)),
    ):
        found = inference_columns.relative_speeds(InferenceContestant('auto', precision), device)
        assert found == dict(zip(columns, expected))
    found = inference_columns.relative_speeds(
        InferenceContestant('auto', 'int8'), {'auto int8': [1.0]}
    )
    assert found == dict.fromkeys(columns)


def test_excluded_contestants_have_a_reason():
    own, forms = ['plain', 'nnabla', 'auto'], ['contiguous', 'channels_last', 'recorded']
    compared, left_out = inference.select_contestants(own, ['float32', 'int8'], forms, 'cpu')
    assert [str(way) for way in compared] == [
        'nnabla plain float32', 'nnabla float32', 'auto float32', 'pytorch contiguous float32',
        'pytorch channels_last float32', 'auto int8',
    ]  # fmt: skip
    assert set(left_out) == {
        'left out, pytorch recorded float32', 'left out, nnabla plain int8',
        'left out, nnabla int8', 'left out, pytorch contiguous int8',
        'left out, pytorch channels_last int8', 'left out, pytorch recorded int8',
    }  # fmt: skip
    compared, _ = inference.select_contestants(
        ['nnabla'], ['float16'], ['compiled', 'recorded'], 'cudnn'
    )
    assert list(map(str, compared)) == [
        'nnabla float16', 'pytorch compiled float16', 'pytorch recorded float16',
    ]  # fmt: skip


def test_the_core_limit_is_removed_afterwards():
    before = os.sched_getaffinity(0)
    with inference.using_cores(1):
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before
