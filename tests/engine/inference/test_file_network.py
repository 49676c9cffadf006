"""Files of engine.export in the place of weights: results, views, and what they cannot do."""

import json
import re

import cv2
import numpy as np
import pytest
import yaml

from common.errors import InputError, UserError
from engine import Segmenter
from engine.inference import ProtocolSettings
from support import evaluate_runs, infer_runs
from support.exported_files import IMAGE, written

WINDOWS = {'test_window': [32, 40], 'test_stride': [20, 30]}


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    """The folder of a tiny network, and the options of its config."""
    folder = tmp_path_factory.mktemp('files')
    options, _ = written(folder, 'free.onnx', '--size', 'dynamic', '--output', 'maps')
    return folder, options


def expected(options, image=IMAGE, **protocol):
    """Return the result of the network itself."""
    settings = ProtocolSettings(**protocol)
    return Segmenter(options[1], context='cpu', backend='nnabla', protocol=settings)(image)


def same(labels, others):
    return np.mean(labels == others) > 0.9995


def test_a_free_file_gives_the_results_of_its_network(config):
    """Views of every kind; maps are all that the network computes."""
    folder, options = config
    for protocol in ({}, {'scales': (0.8, 1.3), 'flip': True}, {'window': (32, 40)}):
        ours = expected(options, **protocol)
        assert len(np.unique(ours.labels)) > 2
        for backend in ('onnxruntime', 'openvino'):
            settings = ProtocolSettings(**protocol)
            segmenter = Segmenter(weights=folder / 'free.onnx', backend=backend, protocol=settings)
            theirs = segmenter(IMAGE)
            assert same(theirs.labels, ours.labels)
            np.testing.assert_allclose(theirs.confidence, ours.confidence, atol=1e-4)
            assert segmenter.network.predictor.backend.used == {backend}
    assert theirs.classes == ours.classes
    assert theirs.palette == ours.palette


@pytest.mark.parametrize(
    'name, options',
    [
        ('a.onnx', ('--output', 'logits', '--normalise', 'float32', '--dynamic-batch')),
        ('a.onnx', ('--output', 'labels', '--normalise', '--batch-size', '2')),
        ('a.xml', ('--output', 'probabilities', '--normalise')),
    ],
)
def test_every_form_gives_the_labels_of_its_network(name, options, tmp_path):
    """Whole images of the file's size; an ending in capitals counts."""
    config, path = written(tmp_path, name, '--size', '45x61', *options, bit_depth=12)
    theirs = Segmenter(weights=path)
    ours = expected(config)
    assert same(theirs(IMAGE).labels, ours.labels)
    assert theirs.reading.bit_depth == 12
    if 'labels' in options:
        with pytest.raises(UserError, match='labels, which have no probabilities.*--output maps'):
            _ = theirs(IMAGE).confidence
    else:
        np.testing.assert_allclose(theirs(IMAGE).confidence, ours.confidence, atol=1e-4)


def test_a_fixed_file_resizes_images_to_its_size(tmp_path):
    config, path = written(tmp_path, 'a.onnx', '--size', '40x56', '--output', 'maps')
    segmenter = Segmenter(weights=path)
    for flip in (False, True):
        protocol = ProtocolSettings(flip=flip)
        found = Segmenter(weights=path, protocol=protocol)(IMAGE).labels
        assert same(found, expected(config, size=(40, 56), flip=flip).labels)
    with pytest.raises(
        InputError, match='sees 40x56 pixels only, not 22x30, 45x61: leave out --size'
    ):
        Segmenter(weights=path, protocol=ProtocolSettings(scales=(0.5, 1)))(IMAGE)
    assert segmenter.protocol.describe() == {}
    assert segmenter.network.predictor.described(segmenter.protocol).size == (40, 56)


def test_an_image_that_is_padded_to_a_fixed_size_is_not_resized(tmp_path):
    """Slightly smaller than the network accepts."""
    config, path = written(tmp_path, 'a.onnx', '--size', '5x61', '--output', 'maps')
    low = IMAGE[:3]
    assert same(Segmenter(weights=path)(low).labels, expected(config, low).labels)


def test_windows_of_the_files_size_stay(tmp_path):
    config, path = written(tmp_path, 'a.onnx', '--size', '32x40', '--output', 'maps', **WINDOWS)
    segmenter = Segmenter(weights=path)
    assert segmenter.protocol.window == (32, 40)
    assert same(segmenter(IMAGE).labels, expected(config).labels)
    small = IMAGE[:20]
    with_resizing = expected(config, small, size=(32, 40))
    assert same(segmenter(small).labels, with_resizing.labels)


def test_infer_and_evaluate_run_a_file_without_a_config(config, working_folder):
    folder, options = config
    for name in ('test', 'testannot'):
        (working_folder / 'data' / name).mkdir(parents=True)
    cv2.imwrite('data/test/a.png', IMAGE)
    cv2.imwrite('data/testannot/a.png', expected(options, IMAGE[:, ::-1].copy()).labels)
    results = {}
    network = (*options, '-c', 'cpu', '--backend', 'nnabla')
    for name, arguments in (('file', ('-m', folder / 'free.onnx')), ('network', network)):
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
    assert facts['weights'] == str(folder / 'free.onnx')
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
        (['-cfg', 'other.yaml'], 'other.yaml: classes is not that of .*leave -cfg out'),
    ],
)
def test_what_a_file_cannot_do_is_one_line(options, line, config, working_folder, capsys):
    folder, (_, yaml_file) = config
    if 'other.yaml' in options:
        keys = yaml.safe_load(yaml_file.read_text())
        names = [f'other {i}' for i in range(11)]
        (working_folder / 'other.yaml').write_text(yaml.safe_dump({**keys, 'classes': names}))
    cv2.imwrite('a.png', IMAGE)
    message = infer_runs.refused(capsys, '-i', 'a.png', '-m', folder / 'free.onnx', *options)
    assert re.search(line, message), message


def test_a_config_that_agrees_may_set_the_views(config, working_folder):
    """Its colours and views hold; a key of the config can name the file."""
    folder, (_, yaml_file) = config
    keys = yaml.safe_load(yaml_file.read_text())
    keys |= {'weights': str(folder / 'free.onnx'), 'test_flip': True}
    (working_folder / 'own.yaml').write_text(yaml.safe_dump(keys))
    segmenter = Segmenter('own.yaml')
    assert segmenter.protocol.flip
    assert same(segmenter(IMAGE).labels, expected(('-cfg', yaml_file), flip=True).labels)
