"""Files of engine.export in the place of weights: results, views, and what they cannot do."""

import json
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
import yaml

from common.errors import InputError, UserError
from engine import Segmenter
from engine.backends.settings import BackendSettings
from engine.device.context import DeviceChoice
from engine.inference import exported_file
from engine.inference.file_backend import FileBackend
from engine.inference.file_network import load_config
from engine.inference.settings import WeightsSettings
from engine.inference.test_time import Protocol
from support import evaluate_runs, export_runs, infer_runs
from support.exported_files import IMAGE, written


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    """Options of a tiny network's config, and the network itself."""
    options, _ = written(
        tmp_path_factory.mktemp('files'), 'free.onnx', '--size', 'dynamic', '--output', 'maps'
    )
    return options, Segmenter(options[1], context='cpu', backend='nnabla')


@pytest.fixture(scope='module')
def free(network):
    """A file of the network that takes every size."""
    return network[0][1].with_name('free.onnx')


@pytest.fixture
def exported(network, tmp_path):
    """A function that exports the network with options and returns the file."""

    def export(name, *options):
        assert export_runs.started(*network[0], '-o', tmp_path / name, *options) == 0
        return tmp_path / name

    return export


def same(labels, others):
    return np.mean(labels == others) > 0.9995


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_a_free_file_gives_the_results_of_its_network(backend, network, free):
    """Views of every kind; maps are all that the network computes."""
    segmenter = Segmenter(weights=free, backend=backend)
    for protocol in (
        Protocol(),
        Protocol(scales=(0.8, 1.3), flip=True),
        Protocol(window=(32, 40)),
    ):
        ours, theirs = (each(IMAGE, protocol) for each in (network[1], segmenter))
        assert len(np.unique(ours.labels)) > 2
        assert same(theirs.labels, ours.labels)
        np.testing.assert_allclose(theirs.confidence, ours.confidence, atol=1e-4)
    assert segmenter.network.predictor.backend.used == {backend}
    assert (theirs.classes, theirs.palette) == (ours.classes, ours.palette)


@pytest.mark.parametrize(
    'name, options',
    [
        ('a.ONNX', ('--output', 'logits', '--normalise', 'float32', '--dynamic-batch')),
        ('a.onnx', ('--output', 'labels', '--normalise', '--batch-size', '2')),
        ('a.xml', ('--output', 'probabilities', '--normalise')),
    ],
)
def test_every_form_gives_the_labels_of_its_network(name, options, network, exported):
    """Whole images of the file's size; an ending in capitals counts."""
    path = exported(name, '--size', '45x61', *options, '--set', 'bit_depth=12')
    theirs = Segmenter(weights=path)
    ours = network[1](IMAGE)
    assert same(theirs(IMAGE).labels, ours.labels)
    assert theirs.reading.bit_depth == 12
    if 'labels' in options:
        with pytest.raises(UserError, match='labels, which have no probabilities.*--output maps'):
            _ = theirs(IMAGE).confidence
    else:
        np.testing.assert_allclose(theirs(IMAGE).confidence, ours.confidence, atol=1e-4)


def test_a_fixed_file_resizes_images_to_its_size(network, exported):
    segmenter = Segmenter(weights=exported('a.onnx', '--size', '40x56', '--output', 'maps'))
    for flip in (False, True):
        expected = network[1](IMAGE, Protocol(size=(40, 56), flip=flip))
        assert same(segmenter(IMAGE, Protocol(flip=flip)).labels, expected.labels)
    with pytest.raises(InputError, match='sees 40x56 pixels only, not 22x30, 45x61: leave out'):
        segmenter(IMAGE, Protocol(scales=(0.5, 1)))
    assert segmenter.protocol.describe() == {}
    assert segmenter.network.predictor.described(segmenter.protocol).size == (40, 56)


def test_an_image_that_is_padded_to_a_fixed_size_is_not_resized(network, exported):
    """Slightly smaller than the network accepts."""
    path, low = exported('a.onnx', '--size', '5x61', '--output', 'maps'), IMAGE[:3]
    assert same(Segmenter(weights=path)(low).labels, network[1](low).labels)


def test_windows_of_the_files_size_stay(network, exported):
    """An image that is smaller than a window is resized to it."""
    keys = '--set', 'test_window=[32, 40]', 'test_stride=[20, 30]'
    path = exported('a.onnx', '--size', '32x40', '--output', 'maps', *keys)
    segmenter = Segmenter(weights=path)
    windows = Protocol(window=(32, 40), stride=(20, 30))
    assert segmenter.protocol == windows
    assert same(segmenter(IMAGE).labels, network[1](IMAGE, windows).labels)
    small, resized = IMAGE[:20], Protocol(size=(32, 40), window=(32, 40), stride=(20, 30))
    assert same(segmenter(small).labels, network[1](small, resized).labels)
    with pytest.raises(InputError, match='sees 32x40 pixels only, not 24x24: leave out .*--slide'):
        segmenter(IMAGE, Protocol(window=(24, 24)))


def test_infer_and_evaluate_run_a_file_without_a_config(network, free, working_folder):
    options, segmenter = network
    for name in ('test', 'testannot'):
        (working_folder / 'data' / name).mkdir(parents=True)
    cv2.imwrite('data/test/a.png', IMAGE)
    cv2.imwrite('data/testannot/a.png', segmenter(IMAGE[:, ::-1]).labels)
    results = {}
    of_network = (*options, '-c', 'cpu', '--backend', 'nnabla')
    for name, arguments in (('file', ('-m', free)), ('network', of_network)):
        run = ('-i', 'data/test/a.png', *arguments, '-o', f'{name}.png', '--save-labels')
        assert infer_runs.started(*run) == 0
        report = working_folder / f'{name}.json'
        score = ('-d', 'data', '--split', 'test', *arguments, '--json', report)
        assert evaluate_runs.started(*score) == 0
        labels = cv2.imread(f'{name}_labels.png', cv2.IMREAD_UNCHANGED)
        results[name] = labels, json.loads(report.read_text())
    (labels, scores), (same_labels, same_scores) = results.values()
    assert same(labels, same_labels)
    assert abs(scores['miou'] - same_scores['miou']) < 0.1
    assert scores['miou'] > 1
    facts = scores['settings']
    assert facts['weights'] == str(free)
    assert (facts['backend'], facts['precision'], facts['dataset']) == (
        'openvino', 'float32', 'camvid'
    )  # fmt: skip


@pytest.mark.parametrize(
    'options, line',
    [
        (['--backend', 'nnabla'], 'NNabla cannot run .*free.onnx.*leave --backend out'),
        (['--backend', 'tensorrt'], '--backend tensorrt: cannot run .* openvino or onnxruntime'),
        (['--precision', 'int8'], 'computes in float32 as it was exported; leave the option out'),
        (['-t', 'half'], '-t half: works with NNabla only'),
        (['-cfg', 'configs/D3Net_L.yaml'], 'D3Net_L.yaml: .* is not that of .*free.onnx'),
        (['--set', 'mean=[1, 2, 3]'], '--set: mean is not that of .*free.onnx.*leave them out'),
        (['--set', 'network=ddrnet23'], '--set: network is not that of .*free.onnx.*leave it out'),
        (['--set', 'num_classes=5'], r'11 names \(.*free.onnx\), but num_classes is 5 \(--set\)'),
        (['--set', 'nothing=5'], 'nothing: unknown key'),
        (['-cfg', 'other.yaml'], 'other.yaml: classes is not that of .*leave -cfg out'),
    ],
)
def test_what_a_file_cannot_do_is_one_line(options, line, network, free, working_folder, capsys):
    if 'other.yaml' in options:
        keys = yaml.safe_load(network[0][1].read_text())
        names = [f'other {i}' for i in range(11)]
        (working_folder / 'other.yaml').write_text(yaml.safe_dump({**keys, 'classes': names}))
    cv2.imwrite('a.png', IMAGE)
    message = infer_runs.refused(capsys, '-i', 'a.png', '-m', free, *options)
    assert re.search(line, message), message


def test_a_size_that_a_fixed_file_cannot_see_ends_the_command_at_once(
    exported, working_folder, capsys
):
    folder = working_folder / 'images'
    folder.mkdir()
    for name in ('a.png', 'b.png'):
        cv2.imwrite(str(folder / name), IMAGE)
    file = exported('a.onnx', '--size', '32x40')
    message = infer_runs.refused(capsys, '-i', folder, '-m', file, '--size', '64x64')
    assert re.search(r'a\.onnx sees 32x40 pixels only, not 64x64: leave out --size', message)


@pytest.mark.parametrize('precision', ['int8', 'bfloat16'])
def test_an_int8_file_computes_in_int8_only(precision, free):
    file = exported_file.read(free)
    file = replace(file, facts={**file.facts, 'precision': 'int8'})
    line = (
        rf'--precision {precision}: .* computes in int8 as it was exported; leave the option out$'
    )
    with pytest.raises(UserError, match=line):
        FileBackend(file, BackendSettings(precision=precision), DeviceChoice('cpu', 'float'))


def test_the_default_config_has_nothing_to_do_with_a_file(free):
    """It has 19 classes of Cityscapes, and no data set of the name."""
    weights, overrides = WeightsSettings(weights=str(free)), ['dataset=folder', 'test_flip=true']
    config = load_config(None, overrides, weights, {'data_dir': ('-d', 'own')})
    assert (config['dataset'], config['data_dir'], config['num_classes']) == ('folder', 'own', 11)
    assert config['test_flip'] and config.origin('data_dir') == '-d'


def test_a_config_that_agrees_may_set_the_views(network, free, working_folder):
    """A key of the config can name the file."""
    keys = yaml.safe_load(network[0][1].read_text()) | {'weights': str(free), 'test_flip': True}
    (working_folder / 'own.yaml').write_text(yaml.safe_dump(keys))
    segmenter = Segmenter('own.yaml')
    assert segmenter.protocol == Protocol(flip=True)
    assert same(segmenter(IMAGE).labels, network[1](IMAGE, Protocol(flip=True)).labels)
