"""The benchmark of inference."""

import importlib.util
import json
import os

import nnabla as nn
import numpy as np
import pytest
import yaml

import helpers
import models
from command import UserError
from engine import config as configs
from engine.benchmark import (
    contestants,
    graph_file,
    inference,
    peer_training,
    pipeline,
    pytorch_graph,
)
from engine.benchmark.contestants import Way

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec('torch') is None, reason='torch is not installed in this Python'
)


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / 'tiny.yaml'
    path.write_text(yaml.safe_dump({**helpers.TINY, 'lr': 0.1, 'max_iter': 9}))
    return path


def bench(*options):
    return helpers.run('-m', 'engine.benchmark', 'inference', *options, '-c', 'cpu', '--rounds', 1)


def test_networks_and_engines_are_compared(tiny, tmp_path):
    report, other = tmp_path / 'report.json', 'configs/D3Net_T_camvid.yaml'
    process = bench(
        '-cfg', tiny, other, '--size', '64x96', '--json', report,
        '--precision', 'float32', 'float16',
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    document = json.loads(report.read_text())
    settings, results = document['settings'], {r['name']: r for r in document['results']}
    assert list(results) == [
        'tiny: nnabla float32', 'tiny: auto float32',
        'D3Net_T_camvid: nnabla float32', 'D3Net_T_camvid: auto float32',
    ]  # fmt: skip
    assert settings['weights, tiny'] == 'random, seed 0'
    assert settings['weights, D3Net_T_camvid'] == 'D3Net_T_camvid.h5'
    assert settings['left out, nnabla float16'] == 'NNabla computes in float32 only on a CPU'
    assert settings['threads'] == len(os.sched_getaffinity(0))
    for name, result in results.items():
        details = result['details']
        assert details['e2e ms'] > result['median_ms'] > 0
        assert details['FPS'] == pytest.approx(1000 / result['median_ms'])
        assert details['MiB'] > 50 and details['start s'] > 0
        assert details['differs'] <= contestants.TOLERANCE
        assert (details['again s'] is None) == ('nnabla' in name)
    assert 'D3Net_T_camvid: auto float32' in process.stdout


@pytest.mark.parametrize(
    'options, message',
    [
        (['--size', '4x4'], '--size 4x4: d3net cannot take it, the nearest is'),
        (['--threads', '9999'], '--threads 9999: there are'),
        (['--threads', '0'], '--threads must be at least 1'),
        (['--engine', 'nnabla', '--precision', 'int8'], 'nothing to compare: NNabla computes in'),
        (['--batch-size', '2'], '--batch-size is an option of loader and training'),
        (['--peer', 'pytorch', '--peer-python', '/no/python'], 'no such program'),
    ],
)
def test_bad_options(options, message, tiny):
    assert message in helpers.error_line(bench('-cfg', tiny, *options))


def test_other_kinds_take_one_config(tiny):
    process = helpers.run('-m', 'engine.benchmark', 'training', '-cfg', tiny, tiny)
    assert 'training takes one config' in helpers.error_line(process)


def test_what_is_left_out_has_a_reason():
    compared, left_out = inference.ways(['nnabla', 'auto'], ['float32', 'int8'], 'python', 'cpu')
    assert [str(way) for way in compared] == [
        'nnabla float32', 'auto float32', 'pytorch float32', 'pytorch channels_last float32',
        'auto int8',
    ]  # fmt: skip
    assert set(left_out) == {
        f'left out, {name} int8' for name in ('nnabla', 'pytorch', 'pytorch channels_last')
    }
    compared, _ = inference.ways(['nnabla'], ['float16'], None, 'cudnn')
    assert compared == [Way('nnabla', 'float16')]


def test_other_numbers_are_refused_in_float32():
    reference = np.ones((1, 2, 3, 3), np.float32)
    off = reference.copy()
    off[0, 0, 0, 0] += 0.01
    assert contestants.difference(Way('auto', 'int8'), off, reference) == pytest.approx(0.01)
    for wrong in (off, off * np.nan):
        with pytest.raises(UserError, match='auto float32: its logits differ'):
            contestants.difference(Way('auto', 'float32'), wrong, reference)


def test_cores_are_given_back():
    before = os.sched_getaffinity(0)
    with inference.using_cores(1):
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before


def test_labels_are_those_of_the_predictor(monkeypatch):
    """In bands, as many as there are rows in the end."""
    from engine.predictor import Predictor

    network = helpers.tiny()
    predictor = Predictor(network)
    helpers.randomize_parameters()
    image = helpers.image(48, 64)
    expected = predictor.labels(image)
    x = nn.Variable.from_numpy_array(pipeline.predictor.normalise(image, network.info)[None])
    maps = network(x)[0]
    maps.forward()
    for band in (1, 1 << 20):
        monkeypatch.setattr(pipeline, 'BAND', band)
        np.testing.assert_array_equal(pipeline.labels(maps.d[0], (48, 64)), expected)


def test_a_training_graph_holds_its_batch(tiny, tmp_path):
    """Nothing is fed from outside, and the table has all of its functions."""
    config = {**configs.load(tiny), 'batch_size': 2, 'accumulation': 1}
    peer_training.write(config, (32, 48), tmp_path)
    document = json.loads((tmp_path / graph_file.GRAPH).read_text())
    assert document['inputs'] == []
    assert {each['kind'] for each in document['functions']} <= set(pytorch_graph.FUNCTIONS)
    assert len(document['trained']) == len(nn.get_parameters())


def test_random_steps_have_no_peer(tmp_path):
    config = {'network': 'dabnet_e', 'num_classes': 5, 'batch_size': 2, 'lr': 0.1, 'max_iter': 9}
    with pytest.raises(UserError, match='solver adam has no counterpart'):
        peer_training.write({**config, 'solver': 'adam'}, (64, 64), tmp_path)
    config['network'] = next(name for name in models.names() if 'mobilenetv2' in name)
    with helpers.zero_parameters(), pytest.raises(UserError, match='drops values at random'):
        peer_training.write(config, (128, 128), tmp_path)


@needs_torch
@pytest.mark.parametrize('channels_last', (False, True))
def test_steps_of_training_are_those_of_nnabla(channels_last, tiny, tmp_path):
    from engine.communicator import Processes
    from engine.gradients import Alone
    from engine.recipe import from_config
    from engine.trainer import Trainer

    config = {**configs.load(tiny), 'batch_size': 2, 'accumulation': 1}
    training = peer_training.write(config, (32, 48), tmp_path)
    network, processes = models.create(config), Processes()

    class Loader:
        samples = ()

        def next(self):
            return peer_training.batch((2, 3, 32, 48), network.info.num_classes)

    recipe = from_config(config, 2, 1)
    trainer = Trainer(network, config, recipe, Loader(), processes, Alone(processes), seed=0)
    expected = [trainer.step().loss for _ in range(3)]
    worker = pytorch_graph.Worker()
    worker.start_training(
        tmp_path, 'cpu', channels_last, 1, training.rate(0), 0.9, training.weight_decay
    )
    found = [worker.step()[0] for _ in range(3)]
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(found, expected, rtol=1e-2)
    assert expected[2] < expected[0]
