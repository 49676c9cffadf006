"""No command overwrites what it reads: refused in one line, before any work."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

import evaluate
import infer
import train
from benchmarks import __main__ as benchmarks
from common.command import run_command
from datasets import prepare, show
from datasets.loading import pack
from engine.export import __main__ as export
from models.complexity import __main__ as complexity
from models.convert import __main__ as convert
from support import mpi_training, train_runs

JSON = '{"classes": ["a"]}'


@pytest.fixture(scope='module')
def inputs(tmp_path_factory):
    """A folder with the inputs of all commands; weights of this content cannot be loaded."""
    root = tmp_path_factory.mktemp('inputs')
    mpi_training.write_data(root / 'data', 2, 1)
    train_runs.write_config(root)
    (root / 'inherits.yaml').write_text('_base_: tiny.yaml\nmax_iter: 5\n')
    for name in ('w.h5', 'w.onnx', 'w.nnp', 'w.npz', 'x.nnb.json', 'list.json'):
        (root / name).write_bytes(b'weights')
    (root / 'json.h5').write_text(JSON)
    (root / 'list.json').write_text('images/val/0.png labels/val/0.png\n')
    for name in ('mine', 'initial', 'calibration', 'other/train', 'packed'):
        (root / name).mkdir(parents=True)
    for name in ('index.json', 'notes.txt'):  # the name of a packed set's index alone is no proof
        (root / 'other' / 'train' / name).write_text(JSON)
    for name in pack.FILES:
        (root / 'packed' / name).write_text(JSON)
    (root / 'mine' / 'config.yaml').write_text('_base_: ../tiny.yaml\n')
    (root / 'initial' / 'best.h5').write_bytes(b'weights')
    cv2.imwrite(str(root / 'calibration' / 'b.png'), np.zeros((9, 9, 3), np.uint8))
    (root / 'a.png').write_bytes((root / 'calibration' / 'b.png').read_bytes())
    os.link(root / 'w.h5', root / 'linked.onnx')
    (root / 'way').symlink_to('data')
    return root


def contents(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(root.rglob('*')) if path.is_file()}


NETWORK = '-cfg inherits.yaml -c cpu'
EVALUATE = f'{NETWORK} -d data --backend nnabla -m w.h5'
TRAIN = f'{NETWORK} -d data'
REFUSED = [
    (evaluate, f'{EVALUATE} --json data/labels/val/0.png', 'is a label of the data set'),
    (evaluate, f'{EVALUATE} --json way/images/val/0.png', 'is an image of the data set'),
    (evaluate, f'{EVALUATE} --json data/labels/train/0.png', 'is a file of the data set'),
    (evaluate, f'{EVALUATE} --json data/dataset.yaml', 'is the description of the data set'),
    (evaluate, f'{EVALUATE} --json w.h5', 'is the file of weights'),
    (evaluate, f'{EVALUATE} --json linked.onnx', 'is the file of weights'),
    (evaluate, f'{EVALUATE} --json json.h5 -m json.h5', 'is the file of weights'),
    (evaluate, f'{EVALUATE} --json tiny.yaml', 'is a config of the network'),
    (evaluate, f'{EVALUATE} --list list.json --json list.json', 'is the list of the data set'),
    (evaluate, f'{EVALUATE} --save-labels data/labels/val', 'is a label of the data set'),
    (evaluate, f'{EVALUATE} --save-labels way/images/new', 'is a folder of the data set'),
    (evaluate, f'{EVALUATE} --visualize data', 'is a folder of the data set'),
    (evaluate, f'{EVALUATE} --visualize v --save-labels v', 'is a result of --visualize'),
    (evaluate, f'{EVALUATE} --save-labels v --json v/0.png', 'is a result of --save-labels'),
    (evaluate, f'{EVALUATE} --per-image list.json', 'is not a table of scores'),
    (evaluate, f'{EVALUATE} --per-image data/labels/val/0.png', 'is a label of the data set'),
    (evaluate, f'{EVALUATE} --confusion data/images/val/0.png', 'is an image of the data set'),
    (infer, f'{NETWORK} -i a.png -m w.h5 -o way/../a.png', 'is an input'),
    (infer, f'{NETWORK} -i data/images/val/0.png -m a.png -o a.png', 'is the file of weights'),
    (
        infer,
        f'{NETWORK} -i a.png -m w.h5 --precision int8 --backend openvino '
        '--calibration calibration -o calibration/b.png',
        'is a calibration image',
    ),
    (train, f'{TRAIN} -o data', 'is a folder of the data set'),
    (train, f'{TRAIN} -o way/', 'is a folder of the data set'),
    (train, f'{TRAIN} -o data/images/run', 'is a folder of the data set'),
    (train, '-cfg mine/config.yaml -d data -c cpu -o mine', 'is a config of the new run'),
    (train, f'{TRAIN} -p initial/best.h5 -o initial', 'is the file of initial weights'),
    (show, 'folder -d data --split val -o data/images/val/0.png', 'is an image of the data set'),
    (show, 'folder -d data --split val -o data/images/train/0.png', 'is a file of the data set'),
    (show, 'folder -d data --split val -o data/images/sheet.png', 'of images or labels'),
    (prepare, 'folder -d data --check --json data/labels/train/0.png', 'is a file of the data set'),
    (prepare, 'folder -d data --check --json tiny.yaml', 'is not a report in JSON'),
    (prepare, 'folder -d data --pack data', 'is a folder of the data set'),
    (prepare, 'folder -d data --pack data/images', 'is a folder of the data set'),
    (prepare, 'folder -d data --check --pack other', 'contains other files'),
    (prepare, 'folder -d packed --check --json packed/index.json', 'is a file of packed data'),
    (prepare, 'folder -d data --pack new --json new/val/index.json', 'is a result of --pack'),
    (export, '-cfg tiny.yaml -m w.onnx -o w.onnx', 'is the file of weights'),
    (export, '-cfg tiny.yaml -m w.h5 -o linked.onnx', 'is the file of weights'),
    (export, '-cfg tiny.yaml -m w.h5 -o x.nnb', 'x.nnb.json: is not a report in JSON'),
    (convert, '--network ddrnet23_slim -i w.npz --to-pytorch w.npz', 'is an input'),
    (complexity, '--network d3net_t --json w.h5', 'is not a report in JSON'),
    (benchmarks, 'norms -cfg inherits.yaml --json tiny.yaml', 'is a config'),
    (benchmarks, 'norms -cfg inherits.yaml --json w.h5', 'is not a report in JSON'),
]


@pytest.mark.parametrize(('program', 'arguments', 'reason'), REFUSED)
def test_an_input_is_never_overwritten(program, arguments, reason, inputs, monkeypatch, capsys):
    monkeypatch.chdir(inputs)
    before = contents(inputs)
    assert run_command(program.build_parser, program.main, arguments.split()) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error')]
    assert reason in line
    assert line.rpartition('; ')[2].startswith('name '), 'the remedy'
    assert contents(inputs) == before
