"""The programs of docs/export.md get the labels of infer.py where the project is missing."""

import cv2
import numpy as np
import pytest

from docs import blocks
from engine import Segmenter
from engine.inference.settings import ProtocolSettings
from support import export_runs, programs, runtime_runs
from support.tiny_config import write_balanced_config

PROGRAMS = {'.onnx': 'onnx_photo.py', '.xml': 'openvino_photo.py'}
MOST_LINES = 25  # of code in a program
FORMS = {  # options of engine.export, and the size of the file's input
    'maps': (('--output', 'maps'), (48, 64)),
    'probabilities of pixels': (('--output', 'probabilities', '--normalise'), (90, 120)),
    'logits of float pixels': (('--normalise', 'float32'), (90, 120)),
    'enlarged': (('--output', 'maps', '--normalise'), (110, 130)),
}


@pytest.fixture(scope='module')
def packages(tmp_path_factory):
    return runtime_runs.packages_alone(tmp_path_factory.mktemp('alone') / 'packages')


@pytest.fixture(scope='module')
def page_programs(tmp_path_factory):
    """The programs of the page, as files."""
    folder = tmp_path_factory.mktemp('programs')
    page = blocks.read(programs.PROJECT / 'docs' / 'export.md')
    for block in page.blocks:
        if block.file:
            (folder / block.file).write_text(block.code)
            code = [line for line in block.code.splitlines() if line.strip(' "')]
            assert len(code) - 1 <= MOST_LINES  # the first is the docstring
    assert sorted(path.name for path in folder.iterdir()) == sorted(PROGRAMS.values())
    return folder


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('ending', PROGRAMS)
def test_labels_are_those_of_the_network(
    ending, form, page_programs, packages, working_folder, small_photo
):
    """The photo has 90x120 pixels; the tiny network's input is BGR, with a mean of its own."""
    config = write_balanced_config(working_folder, cv2.imread(str(small_photo)))
    options, size = FORMS[form]
    network = working_folder / f'network{ending}'
    size_option = ('--size', 'x'.join(map(str, size)))
    assert export_runs.started('-cfg', config, '-o', network, *size_option, *options) == 0
    outputs = working_folder / 'labels.png', working_folder / 'colours.png'
    program = page_programs / PROGRAMS[ending]
    process = runtime_runs.alone(packages, network, small_photo, *outputs, program=program)
    assert (process.returncode, process.stderr) == (0, ''), process.stderr
    labels, colours = (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in outputs)
    expected = Segmenter(
        str(config), context='cpu', backend='nnabla', protocol=ProtocolSettings(size=size)
    )(small_photo)
    assert len(np.unique(expected.labels)) > 2
    assert np.mean(labels == expected.labels) > 0.9995
    assert np.array_equal(colours[..., ::-1], np.array(expected.palette, np.uint8)[labels])
