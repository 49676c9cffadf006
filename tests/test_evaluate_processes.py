"""evaluate.py in several processes of its own: the same scores and files."""

import json
from types import SimpleNamespace

import cv2
import nnabla as nn
import numpy as np
import pytest

import evaluate
import helpers
from command import UserError, run
from engine import evaluation

CAMVID = ['-cfg', 'configs/D3Net_T_camvid.yaml', '-c', 'cpu', '--engine', 'nnabla']


@pytest.fixture
def data(tmp_path):
    """A data set of CamVid's layout: noise with labels."""
    for folder in ('test', 'testannot'):
        (tmp_path / 'data' / folder).mkdir(parents=True)
    rng = np.random.RandomState(0)
    for i in range(5):
        name = f'{i}.png'
        cv2.imwrite(str(tmp_path / 'data/test' / name), helpers.image(60, 80 + 10 * (i % 2), i))
        labels = rng.randint(0, 12, (60, 80 + 10 * (i % 2))).astype(np.uint8)
        cv2.imwrite(str(tmp_path / 'data/testannot' / name), labels)
    return tmp_path / 'data'


def started(*arguments):
    nn.clear_parameters()
    options = [*CAMVID, '--split', 'test', *map(str, arguments)]
    return run(evaluate.build_parser, evaluate.main, options)


def test_scores_and_files_are_those_of_one_process(data, tmp_path, capfd):
    said = []
    for count in (1, 2):
        place = tmp_path / f'out{count}'
        status = started(
            '-d', data, '--boundary', '--processes', count, '--json', place / 'scores.json',
            '--save-labels', place / 'labels', '--visualize', place / 'pictures',
        )  # fmt: skip
        assert status == 0
        said.append(capfd.readouterr())
    assert said[0] == said[1]
    one, two = (tmp_path / 'out1', tmp_path / 'out2')
    report = json.loads((one / 'scores.json').read_text())
    assert report == json.loads((two / 'scores.json').read_text())
    assert report['images'] == 5
    assert report['boundary_miou'] is not None
    names = sorted(p.relative_to(one) for p in one.rglob('*.png'))
    assert len(names) == 10
    for name in names:
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_a_bad_image_ends_it_with_one_line(data, capsys):
    (data / 'test/3.png').write_bytes((data / 'test/3.png').read_bytes()[:-50])
    assert started('-d', data, '--processes', 2) == 2
    lines = capsys.readouterr().err.splitlines()
    (line,) = [line for line in lines if line.startswith('error: ')]
    assert '3.png: damaged or truncated' in line
    assert not any('Traceback' in line for line in lines)


def test_processes_of_mpirun_are_enough():
    args = SimpleNamespace(limit=None, processes=2)
    with pytest.raises(UserError, match='--processes: mpirun has started'):
        evaluation._check_options(args, SimpleNamespace(size=2))
