"""The benchmark of inference."""

import json
import os

import nnabla as nn
import numpy as np
import pytest
import yaml

import models
from benchmarks import __main__ as command
from benchmarks import contestants, inference, peer, pipeline
from benchmarks.contestants import InferenceContestant
from benchmarks.limit import Limit
from common import machine
from common.errors import UserError
from datasets import image_files
from engine import config as configs
from models import complexity
from support import programs, stand_ins


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / 'tiny.yaml'
    path.write_text(yaml.safe_dump({**stand_ins.TINY, 'lr': 0.1, 'max_iter': 9}))
    return path


def bench(*options):
    return programs.run('-m', 'benchmarks', 'inference', *options, '-c', 'cpu', '--rounds', 1)


def test_networks_and_backends_are_compared(tiny, tmp_path):
    report, other = tmp_path / 'report.json', 'configs/D3Net_T_camvid.yaml'
    process = bench(
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
        assert details['differs'] <= contestants.TOLERANCE
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
def test_ranges_are_from_the_photo_or_a_data_set(with_data, shared, tmp_path):
    pytest.importorskip('nncf')
    report = tmp_path / 'report.json'
    data = ['-d', shared / 'data' / 'camvid'] if with_data else []
    process = bench(
        '-cfg', 'configs/D3Net_T_camvid.yaml', '--size', '64x96', '--json', report, *data,
        '--backend', 'auto', '--precision', 'float32', 'int8', '--seconds', '0',
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    document = json.loads(report.read_text())
    _, reduced = document['results']
    expected = '4 training images of camvid' if with_data else 'street.jpg'
    assert document['settings']['int8'] == f'ranges from {expected}'
    assert reduced['details']['x float32'] == pytest.approx(reduced['ratio'])
    assert contestants.TOLERANCE < reduced['details']['differs'] < 0.5


def test_the_published_graph_of_other_networks_is_ours(tmp_path):
    report = tmp_path / 'report.json'
    process = bench(
        '-cfg', 'configs/DABNet_E_cityscapes.yaml', '--size', '64x128', '--json', report,
        '--backend', 'plain', 'nnabla', '--seconds', '0',
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    document = json.loads(report.read_text())
    assert [result['name'] for result in document['results']] == ['nnabla float32']
    assert 'is the published one' in document['settings']['left out, nnabla plain float32']


def test_threads_are_those_of_the_machine(monkeypatch):
    """Not all that the process may run on, where a limit says less."""
    plans = []

    def measure(configs, compared, plan):
        plans.append(plan)
        return [], {}

    monkeypatch.setattr(inference, 'measure', measure)
    monkeypatch.setattr(machine, 'cgroup_limit', lambda: 1.5)
    for options in ([], ['--threads', '7']):
        args = command.build_parser().parse_args(['inference', '-c', 'cpu', *options])
        command._complete(args)
        command._inference(args, [])
    assert [plan.threads for plan in plans] == [1, 7]


def test_multiples_are_of_the_same_turns():
    """And in the numbers that there are."""
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
        found = inference._multiples(InferenceContestant('auto', precision), device)
        assert found == dict(zip(columns, expected))
    found = inference._multiples(InferenceContestant('auto', 'int8'), {'auto int8': [1.0]})
    assert found == dict.fromkeys(columns)


@pytest.mark.parametrize(
    'options, message',
    [
        (['--size', '4x4'], '--size 4x4: d3net cannot take it, the nearest is'),
        (['--threads', '9999'], '--threads 9999: there are'),
        (['--threads', '0'], '--threads must be at least 1'),
        (['--backend', 'nnabla', '--precision', 'int8'], 'nothing to compare: NNabla computes in'),
        (['--batch-size', '2'], '--batch-size is an option of loader, norms and training'),
        (['--seconds', '-1'], '--seconds must be at least 0'),
        (['--peer', 'pytorch', '--peer-python', '/no/python'], 'no such program'),
    ],
)
def test_bad_options(options, message, tiny):
    assert message in programs.error_line(bench('-cfg', tiny, *options))


def test_other_kinds_take_one_config(tiny):
    process = programs.run('-m', 'benchmarks', 'training', '-cfg', tiny, tiny)
    assert 'training takes one config' in programs.error_line(process)


def test_what_is_left_out_has_a_reason():
    own, forms = ['plain', 'nnabla', 'auto'], ['contiguous', 'channels_last', 'recorded']
    compared, left_out = inference.ways(own, ['float32', 'int8'], forms, 'cpu')
    assert [str(way) for way in compared] == [
        'nnabla plain float32', 'nnabla float32', 'auto float32', 'pytorch contiguous float32',
        'pytorch channels_last float32', 'auto int8',
    ]  # fmt: skip
    assert set(left_out) == {
        'left out, pytorch recorded float32', 'left out, nnabla plain int8',
        'left out, nnabla int8', 'left out, pytorch contiguous int8',
        'left out, pytorch channels_last int8', 'left out, pytorch recorded int8',
    }  # fmt: skip
    compared, _ = inference.ways(['nnabla'], ['float16'], ['compiled', 'recorded'], 'cudnn')
    assert list(map(str, compared)) == [
        'nnabla float16', 'pytorch compiled float16', 'pytorch recorded float16',
    ]  # fmt: skip


def test_forms_of_pytorch_are_those_of_the_device():
    """On a CPU torch.compile is for those who ask for it."""

    def forms(context, *options):
        args = command.build_parser().parse_args(['inference', *options])
        command._complete(args)
        return command._forms(args, context)

    assert forms('cpu') == ['contiguous', 'channels_last']
    assert forms('cudnn') == ['contiguous', 'channels_last', 'compiled', 'recorded']
    assert forms('cpu', '--peer-form', 'compiled') == ['compiled']
    assert set(command.FORMS) == set(peer.FORMS)


def test_other_numbers_are_refused_in_float32():
    reference = np.ones((1, 2, 3, 3), np.float32)
    off = reference.copy()
    off[0, 0, 0, 0] += 0.01
    assert contestants.difference(
        InferenceContestant('auto', 'int8'), off, reference
    ) == pytest.approx(0.01)
    for wrong in (off, off * np.nan):
        with pytest.raises(UserError, match='auto float32: its logits differ'):
            contestants.difference(InferenceContestant('auto', 'float32'), wrong, reference)


def test_cores_are_given_back():
    before = os.sched_getaffinity(0)
    with inference.using_cores(1):
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before


def test_classes_are_the_same_where_images_stay_on_the_device(tmp_path):
    """And the time of the network alone is measured then, too."""
    network, image = stand_ins.tiny(), stand_ins.image(64, 96)
    network(nn.Variable((1, 3, 64, 96)))
    models.weights.save(tmp_path / 'weights.h5')
    image_files.write_image(tmp_path / 'image.png', image)
    task = pipeline.PipelineTask(
        {'network': 'd3net', **stand_ins.TINY}, tmp_path / 'weights.h5', tmp_path / 'image.png',
        tmp_path / 'input.npy', (64, 96), 'cpu', 1,
    )  # fmt: skip
    contestant = pipeline.Pipeline(task, 'nnabla', 'float32', tmp_path)
    expected, seconds = contestant.classes(image)
    assert seconds > 0 and len(np.unique(expected)) > 1
    contestant.stay_on_device()
    found, seconds = contestant.classes(image)
    assert seconds is None
    np.testing.assert_array_equal(found, expected)
    device, whole = contestant.run()
    assert device > 0 and whole > 0


def test_labels_are_those_of_the_predictor(monkeypatch):
    """In bands, as many as there are rows in the end."""
    from engine.inference.predictor import Predictor

    network = stand_ins.tiny()
    predictor = Predictor(network)
    stand_ins.randomize_parameters()
    image = stand_ins.image(48, 64)
    expected = predictor.labels(image)
    x = nn.Variable.from_numpy_array(pipeline.predictor.normalise(image, network.info)[None])
    maps = network(x)[0]
    maps.forward()
    for band in (1, 1 << 20):
        monkeypatch.setattr(pipeline, 'BAND', band)
        np.testing.assert_array_equal(pipeline.labels(maps.d[0], (48, 64)), expected)


@pytest.mark.parametrize('precision, known', [('float32', True), ('float16', False)])
def test_what_the_processor_can_do(precision, known):
    """Nothing is known of numbers that OpenVINO does not compute in."""
    limit = Limit(precision, 1)
    limit.turn()
    assert (limit.best is not None) == known
    assert not known or limit.best > 1
