"""Exported files say enough for a program without this project to get the labels of infer.py."""

import json
import re
import zipfile

import cv2
import numpy as np
import onnxruntime
import pytest
from nnabla.utils.nnp_graph import NnpLoader

from engine.export import nnb_reader
from runtime import segment
from support import export_runs, infer_runs, programs
from support.tiny_config import write_balanced_config, write_tiny_config

PAGE = (programs.PROJECT / 'docs' / 'export.md').read_text(encoding='utf-8')


def infers_labels(config, photo, folder, *options):
    """Return the labels of infer.py for a photo."""
    arguments = ['-i', photo, *config, '-c', 'cpu', '--backend', 'nnabla', '--save-labels']
    assert infer_runs.started(*arguments, *options, '-o', folder / 'result.png') == 0
    (path,) = folder.glob('result*label*.png')
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def onnx_file(path):
    """Return the facts of an ONNX file, and a function from its input to its output."""
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    found = session.get_modelmeta().custom_metadata_map
    facts = {key: _parsed(value) for key, value in found.items()}
    return facts, lambda x: session.run(None, {facts['input_name']: x})[0]


def _parsed(text):
    try:
        return json.loads(text)
    except ValueError:
        return text


def nnp_file(path):
    with zipfile.ZipFile(path) as archive:
        facts = json.loads(archive.read('metadata.json'))
    network = NnpLoader(str(path)).get_network('network', batch_size=facts['batch'])
    image, output = network.inputs[facts['input_name']], network.outputs[facts['output']]

    def run(x):
        image.d = x
        output.forward()
        return np.array(output.d)

    return facts, run


def nnb_file(path):
    facts = json.loads(path.with_name(f'{path.name}.json').read_text())
    return facts, lambda x: nnb_reader.run_nnb(nnb_reader.read_nnb(path), x)


READERS = {'onnx': onnx_file, 'nnp': nnp_file, 'nnb': nnb_file}
FORMS = [
    ('onnx', ('--output', 'maps')),
    ('onnx', ('--output', 'probabilities', '--normalise', 'float32')),
    ('onnx', ('--output', 'labels', '--normalise')),
    ('nnp', ('--output', 'logits')),
    ('nnb', ('--output', 'maps', '--normalise')),
]


@pytest.fixture
def balanced(working_folder, small_photo):
    """Options of a tiny network whose labels vary, and whose input is unlike the usual one."""
    return '-cfg', write_balanced_config(working_folder, cv2.imread(str(small_photo)))


def test_every_form_of_a_file_leads_to_the_labels_of_infer(balanced, small_photo, tmp_path):
    """An image of the file's size, and one that is padded to it."""
    photo = cv2.imread(str(small_photo))
    small = tmp_path / 'low.png'
    cv2.imwrite(str(small), photo[40:43])  # the network needs 5 rows
    for path, size in ((small_photo, '90x120'), (small, '5x120')):
        (tmp_path / size).mkdir()
        image = cv2.imread(str(path))
        expected = infers_labels(balanced, path, tmp_path / size)
        assert len(np.unique(expected)) > 2
        for ending, options in FORMS if path == small_photo else FORMS[:2]:
            file = tmp_path / f'a.{ending}'
            assert export_runs.started(*balanced, '-o', file, '--size', size, *options) == 0
            facts, run = READERS[ending](file)
            labels = segment.Model(facts, run)(image)
            assert labels.shape == expected.shape
            assert np.mean(labels == expected) > 0.9995, (ending, options, size)
            assert facts['classes'] == [f'thing {i}' for i in range(5)]
            assert facts['palette'][3] == [3, 9, 200]
            assert (facts['ignore_label'], facts['protocol']) == (255, {})


def test_the_page_lists_every_key(tmp_path):
    config = write_tiny_config(tmp_path, 'folder', 5)
    options = ('-o', tmp_path / 'a.onnx', '--size', '32x32', '--set', 'bit_depth=12')
    assert export_runs.started('-cfg', config, *options) == 0
    facts, _ = onnx_file(tmp_path / 'a.onnx')
    assert (facts['bit_depth'], facts['exif_orientation']) == (12, None)
    table = PAGE.split('## What they say')[1].split('##')[0]
    listed = {
        name
        for row in table.splitlines()
        if row.startswith('| `')
        for name in re.findall(r'`(\w+)`', row.split('|')[1])
    }
    others = {'input_means', 'output_means'}
    of_openvino = {'bin_sha256', 'calibration'}
    of_tasks = {'inputs', 'tasks', 'task_classes'}
    assert set(facts) - others == listed - others - of_openvino - of_tasks
