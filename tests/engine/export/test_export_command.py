"""python -m engine.export as a user runs it."""

import json
import re
from pathlib import Path
from unittest import mock

import cv2
import h5py
import nnabla as nn
import nnabla.functions as F
import numpy as np
import onnx
import onnxruntime
import pytest

import datasets
from common import files, silent_imports
from engine import Segmenter
from engine.inference import exported_file
from engine.onnx import operators
from layers import functions as L
from support import programs, stand_ins
from support.export_runs import CAMVID, started
from support.tiny_config import write_tiny_config

WEIGHTS = programs.PROJECT / 'resources' / 'D3Net_T_camvid.h5'


def refused(capsys, *arguments):
    """Run the command, which fails with status 2; return its one-line error."""
    assert started(*arguments) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error: ')]
    assert len(errors) == 1
    return errors[0]


def test_onnx_from_any_folder(working_folder):
    """A separate process: exit status, one line of output, and the metadata of the file."""
    process = programs.run(
        '-m', 'engine.export', *CAMVID, '-o', working_folder / 'a.onnx', '--size', '48x64',
        '--output', 'labels', '--normalise', '--dynamic-batch',
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    (line,) = process.stdout.splitlines()
    assert line.startswith(f'{working_folder / "a.onnx"} written (')
    assert 'labels of 48x64): onnxruntime' in line
    assert 'agrees with NNabla on street.jpg' in line
    facts = {p.key: p.value for p in onnx.load(working_folder / 'a.onnx').metadata_props}
    info = datasets.info('camvid')
    assert json.loads(facts['classes']) == list(info.classes)
    assert json.loads(facts['palette']) == [list(colour) for colour in info.palette]
    assert facts['weights_sha256'] == files.sha256_of(WEIGHTS)
    assert facts['weights'] == 'D3Net_T_camvid.h5'
    assert facts['config_name'] == 'D3Net_T_camvid'
    assert json.loads(facts['config'])['n_blocks'] == [4, 4, 4, 4]
    assert str(programs.PROJECT) not in str(facts)
    session = onnxruntime.InferenceSession(str(working_folder / 'a.onnx'))
    labels = session.run(None, {'image': np.zeros((2, 3, 48, 64), np.uint8)})[0]
    assert labels.shape == (2, 48, 64)


def test_openvinos_files_of_every_size(working_folder, capsys):
    """Both files replace older ones; a wrong result keeps them as they were."""
    config = write_tiny_config(working_folder, 'camvid', 11)
    options = ('-cfg', config, '-o', 'a.xml', '--output', 'maps', '--size')
    assert started(*options, '32x40') == 0
    assert started(*options, 'dynamic', '--dynamic-batch', '--normalise') == 0
    _, printed = capsys.readouterr().out.splitlines()
    assert printed.startswith('a.xml and a.bin written (')
    assert 'maps of images of every size): openvino ' in printed
    assert 'on street.jpg at 192x256, 321x225 and 288x477: ' in printed
    before = [Path(name).read_bytes() for name in ('a.xml', 'a.bin')]
    with mock.patch.dict(operators.DIRECT_OPERATORS, ReLU='Sigmoid'):
        assert 'differs from NNabla' in refused(capsys, *options, '32x40')
    assert [Path(name).read_bytes() for name in ('a.xml', 'a.bin')] == before
    assert Path('a.xml.mismatch').exists()
    core = silent_imports.load('openvino').Core()
    model = core.read_model('a.xml')
    facts = json.loads(model.get_rt_info(['nnseg', 'metadata']).astype(str))
    assert (facts['size'], facts['batch'], facts['output']) == ('any', 'any', 'maps')
    assert (facts['size_divisor'], facts['smallest_size']) == (1, 5)
    maps = core.compile_model(model, 'CPU')(np.zeros((2, 3, 37, 50), np.uint8))[0]
    assert maps.shape[:2] == (2, 11)


def test_an_int8_file_states_the_share_of_equal_labels(working_folder, capsys):
    config = write_tiny_config(working_folder, 'camvid', 11)
    for index in range(3):
        cv2.imwrite(f'{index}.png', stand_ins.image(40, 56, seed=index))
    options = ('--size', '40x56', '--normalise', '--precision', 'int8', '--calibration')
    assert started('-cfg', config, '-o', 'a.xml', *options, '*.png') == 0
    share = re.search(
        r'int8 in openvino [\d.]+: ([\d.]+)% of labels equal those of NNabla in float32, on '
        r'street\.jpg and 3 calibration images',
        capsys.readouterr().out,
    )
    assert 80 < float(share[1]) < 100
    file = exported_file.read(Path('a.xml'))
    assert file.facts['precision'] == 'int8'
    assert file.facts['calibration']['images'] == 3
    assert file.content.count(b'type="FakeQuantize"') > 10
    assert Segmenter(weights='a.xml').network.precision == 'int8'


def test_a_network_whose_pooling_follows_the_size_is_refused_by_name(working_folder, capsys):
    options = ['-o', 'a.onnx', '-cfg', write_tiny_config(working_folder, 'camvid', 11)]

    def whole_pooling(x, build):
        return F.average_pooling(x, x.shape[2:])

    with mock.patch.object(L, 'average_pool', lambda x, *_: x * whole_pooling(x, None)):
        message = refused(capsys, *options, '--size', 'dynamic')
    assert "d3net cannot be exported: kernel of NNabla's function AveragePooling" in message
    assert 'export it for a --size of numbers, such as 512x1024' in message
    assert not Path('a.onnx').exists()


@pytest.mark.parametrize('ending', ['nnp', 'nnb'])
def test_the_other_formats(ending, working_folder, capsys):
    config = write_tiny_config(working_folder, 'camvid', 11)
    options = '--size', '32x40', '--normalise'
    assert started('-cfg', config, '-o', f'new/a.{ending}', *options) == 0
    assert 'agrees with NNabla on street.jpg' in capsys.readouterr().out
    values = sum(parameter.size for parameter in nn.get_parameters(grad_only=False).values())
    assert Path(f'new/a.{ending}').stat().st_size > 4 * values


@pytest.mark.parametrize(
    'options, line',
    [
        (['-o', 'a.pb'], 'a.pb: the ending selects the format; use one of .onnx, .xml, .nnp, .nnb'),
        (['-o', 'a'], 'a: the ending selects'),
        (['-o', 'a.onnx', '--size', '20x40'], '--size 20x40: .* at least 29 .* is 29x40'),
        (
            ['-o', 'a.onnx', '--size', '100x200', '--set', 'network=ddrnet23_slim'],
            'multiples of 8 and at least 8 for ddrnet23_slim; the nearest is 104x200',
        ),
        (['-o', 'a.onnx', '--size', '0x40'], '--size 0x40: write HxW'),
        (['-o', 'a.onnx', '--size', 'big'], '--size big: .*vga.*training'),
        (['-o', 'a.onnx', '--batch-size', '0'], '--batch-size must be at least 1, not 0'),
        (['-o', 'a.nnp', '--dynamic-batch'], '--dynamic-batch: .nnp files have a fixed batch'),
        (['-o', 'a.nnp', '--size', 'dynamic'], '--size dynamic: .nnp files have a fixed size'),
        (['-o', 'a.onnx', '--precision', 'int8'], 'int8: .onnx files .* export to a.xml instead'),
        (['-o', 'a.xml', '--calibration', 'x'], '--calibration requires --precision int8'),
        (
            ['-o', 'a.xml', '--precision', 'int8', '--calibration', 'no/*.png'],
            r'--calibration no/\*\.png: ',
        ),
        (['-o', '.onnx/a.xml'], r'a\.bin is there without a\.xml and would be overwritten'),
        (['-o', 'a.nnb', '--normalise', 'uint8'], '--normalise uint8: .nnb files accept float32'),
        (['-o', 'a.nnb', '--output', 'labels'], '--output labels: NNB holds floats only'),
        (['-o', 'a.onnx', '--output', 'classes'], 'invalid choice'),
        (['-o', 'a.onnx', '--batch-size', '2', '--dynamic-batch'], 'not allowed with'),
        (['-o', 'a.onnx', '-m', 'no.h5'], 'no.h5: no such file of weights'),
        (['-o', 'a.onnx', '--set', 'weights=null'], 'names no weights: pass some with -m'),
        (['-o', 'a.onnx', '--set', 'n_blocks=[1, 1, 1, 1]', '--size', '32x32'], 'does not fit'),
        (['-o', '/proc/no/a.onnx'], '/proc/no/a.onnx: cannot be written'),
        (['-o', '.onnx/a.onnx/'], r'is a folder; name a file'),
    ],
)
def test_a_mistake_is_a_one_line_error(options, line, working_folder, capsys):
    if 'network=ddrnet23_slim' in options:
        Path('own.yaml').write_text('network: ddrnet23_slim\nnum_classes: 19\n')
        options = [*options[:4], '-cfg', 'own.yaml']
    else:
        options = [*CAMVID, *options]
    Path('.onnx/a.onnx').mkdir(parents=True)
    Path('.onnx/a.bin').write_bytes(b'of somebody else')
    message = refused(capsys, *options)
    assert re.search(line, message), message
    assert not [p for p in working_folder.iterdir() if p.name not in ('.onnx', 'own.yaml')]


def test_a_config_without_a_size_needs_the_option(working_folder, capsys):
    Path('own.yaml').write_text('network: ddrnet23_slim\nnum_classes: 19\n')
    assert '--size' in refused(capsys, '-cfg', 'own.yaml', '-o', 'a.onnx')


@pytest.mark.parametrize('output', ['logits', 'probabilities', 'labels'])
def test_weights_that_are_not_finite_are_exported_on_request(output, working_folder, capsys):
    options = ['-cfg', write_tiny_config(working_folder, 'camvid', 11), '--size', '32x40']
    with h5py.File('tiny.h5', 'r+') as file:
        file['decode_head/conv_seg/conv/b'][0] = np.nan
    options += ['-o', 'a.onnx', '--output', output]
    assert 'tiny.h5: decode_head/conv_seg/conv/b has NaN' in refused(capsys, *options)
    assert not Path('a.onnx').exists()
    assert started(*options, '--allow-non-finite') == 0
    assert 'agrees with NNabla' in capsys.readouterr().out
