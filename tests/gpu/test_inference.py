"""Inference on a GPU: environment, labels, reference fixtures and the score of CamVid.

A GPU's numbers differ from the CPU's by the order of sums, and between runs by atomic additions.
"""

import json

import cv2
import numpy as np
import pytest

import evaluate
import infer
from conftest import SHARED
from engine.device import context, extension
from support import gpu_tests, programs, reference_outputs
from support.d3net_reference import D3NetReference
from support.gpu_tests import DEVICE, REHEARSED, TYPES, needs_gpu, run
from support.reference_tester import Reference

pytestmark = gpu_tests.marks

PHOTO = programs.PROJECT / 'resources' / 'street.jpg'
CONFIG = programs.PROJECT / 'configs' / 'D3Net_T_camvid.yaml'
FIXTURES = sorted(path.stem for path in SHARED.glob('reference/*.json'))
COMPUTE = {  # prefix of a network's name -> function that computes its outputs
    'csail': reference_outputs.csail_evaluation,
    'dabnet': reference_outputs.dabnet_evaluation,
    'ddrnet': reference_outputs.ddrnet_evaluation,
    '': reference_outputs.edgeailite_evaluation,
}
LABEL_BOUNDS = {'float': 1e-4, 'half': 2e-3}  # share of labels that may differ from the CPU's
SCORE_BOUNDS = {'float': 0.02, 'half': 0.1}  # allowed deviation from a mIoU of 57.088


@needs_gpu
def test_the_environment_lists_the_gpu(record_property):
    process = programs.run('-m', 'engine.environment')
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    assert '-c cudnn: works: in float and half' in lines
    assert 'communicator: is registered for cuda:float, cuda:half' in lines
    assert 'Initializing' not in process.stdout + process.stderr
    record_property('GPUs', extension.load().get_device_count())


@pytest.mark.parametrize('type_config', TYPES)
def test_infer_gives_the_labels_of_the_cpu(type_config, tmp_path, record_property):
    def labels(*options):
        out = tmp_path / 'result.png'
        arguments = ['-i', PHOTO, '-cfg', CONFIG, '-o', out, '--save-labels', '--backend', 'nnabla']
        arguments += ['--scale', '1']  # a view of the image's own size is one graph on the device
        assert run(infer, *arguments, *options) == 0
        return cv2.imread(str(tmp_path / 'result_labels.png'), cv2.IMREAD_UNCHANGED)

    found, expected = labels('-c', DEVICE, '-t', type_config), labels('-c', 'cpu')
    differ = int((found != expected).sum())
    record_property('labels that differ', f'{differ} of {expected.size}')
    assert len(np.unique(expected)) > 3
    assert differ <= LABEL_BOUNDS[type_config] * expected.size


@pytest.mark.parametrize('name', FIXTURES[:3] if REHEARSED else FIXTURES)
def test_outputs_equal_the_reference(name, record_property):
    context.use(DEVICE)
    if name.startswith('d3net'):
        worst = D3NetReference(name, SHARED).check_outputs()
    else:
        compute = next(c for beginning, c in COMPUTE.items() if name.startswith(beginning))
        reference = Reference(name, SHARED)
        reference.check_state()
        worst = reference.check_outputs(compute, with_intermediates=False)
    record_property('share of the tolerance', f'{worst:.3f}')


def test_the_reference_fixtures_exist():
    """Without fixtures the test above proves nothing."""
    assert FIXTURES, f'no fixtures in {SHARED}/reference: SHARED=DIR names their folder'


@pytest.mark.parametrize('type_config', TYPES)
def test_camvid_has_its_published_score(type_config, tmp_path, record_property):
    camvid = SHARED / 'data' / 'camvid'
    if not camvid.is_dir():
        pytest.skip(f'no {camvid}')
    options = ['-d', camvid, '-cfg', CONFIG, '-c', DEVICE, '-t', type_config, '--backend', 'nnabla']
    options += ['--json', tmp_path / 'scores.json', *(['--limit', 3] if REHEARSED else [])]
    assert run(evaluate, *options) == 0
    miou = json.loads((tmp_path / 'scores.json').read_text())['miou']
    record_property('mIoU', miou)
    assert REHEARSED or miou == pytest.approx(57.088, abs=SCORE_BOUNDS[type_config])
