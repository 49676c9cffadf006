"""An evaluation from its settings, without a parser."""

import io
import json

import nnabla as nn
import pytest

import models
from engine import evaluation
from engine.backends.settings import BackendSettings
from engine.config.settings import ConfigSettings
from engine.device.settings import DeviceSettings
from engine.evaluation import EvaluationSettings
from engine.inference import ProtocolSettings
from support import programs
from support.evaluate_runs import cut_camvid, started
from support.tiny_config import tiny_camvid


@pytest.fixture
def small(shared, tmp_path):
    """A small CamVid test set that the test can modify."""
    return cut_camvid(shared / 'data' / 'camvid', tmp_path / 'small')


def test_settings_made_in_python_equal_those_of_the_command_line(small, tmp_path, monkeypatch):
    """Without a parser, all files are the same to the last bit; each run creates one network."""
    tiny, made, create = tiny_camvid(), [], models.create
    monkeypatch.setattr(models, 'create', lambda config: made.append(create(config)) or made[-1])
    typed = [
        '-d', small, *tiny, '--split', 'test', '--limit', '2', '--boundary', '--flip',
        '--short-sides', '80', '--json', tmp_path / 'command.json', '--set', 'lr=0.1',
        '--save-labels', tmp_path / 'command', '--visualize', tmp_path / 'command_pictures',
    ]  # fmt: skip
    assert started(*typed) == 0
    nn.clear_parameters()
    settings = EvaluationSettings(
        data_dir=str(small),
        split='test',
        limit=2,
        boundary=True,
        json=tmp_path / 'python.json',
        visualize=tmp_path / 'python_pictures',
        save_labels=tmp_path / 'python',
        config=ConfigSettings(str(tiny[1]), ('lr=0.1',)),
        device=DeviceSettings('cpu'),
        backend=BackendSettings('nnabla'),
        protocol=ProtocolSettings(short_sides=(80,), flip=True),
    )
    assert evaluation.evaluate(settings) == 0
    assert len(made) == 2
    assert (tmp_path / 'python.json').read_text() == (tmp_path / 'command.json').read_text()
    for kind in ('', '_pictures'):
        paths = sorted((tmp_path / f'command{kind}').rglob('*.png'))
        assert len(paths) == 2
        for path in paths:
            own = tmp_path / f'python{kind}' / path.relative_to(tmp_path / f'command{kind}')
            assert own.read_bytes() == path.read_bytes()


def test_the_report_is_written_before_anything_is_printed(small, tmp_path, monkeypatch):
    """A Python program has no guard around its streams: printing may fail, the file is there."""
    report = tmp_path / 'scores.json'
    settings = EvaluationSettings(
        data_dir=str(small),
        split='test',
        limit=1,
        json=report,
        config=ConfigSettings(str(tiny_camvid()[1])),
        device=DeviceSettings('cpu'),
        backend=BackendSettings('nnabla'),
    )
    full = io.TextIOWrapper(io.FileIO('/dev/full', 'w'), line_buffering=True)
    with monkeypatch.context() as patch, pytest.raises(OSError, match='No space left'):
        patch.setattr('sys.stdout', full)
        evaluation.evaluate(settings)
    assert json.loads(report.read_text(encoding='utf-8'))['images'] == 1


def test_a_full_disk_of_one_output_costs_no_other(small, tmp_path, capsys):
    """Neither the scores nor the small files; the last line names what is missing."""
    names = {'--json': 'a.json', '--per-image': 'a.csv', '--confusion': 'a.png'}
    outputs = [text for option, name in names.items() for text in (option, tmp_path / name)]
    outputs += ['--visualize', tmp_path / 'pictures', '--save-labels', tmp_path / 'labels']
    options = ['-d', small, *tiny_camvid(), '--split', 'test', '--limit', '2', *outputs]
    with programs.full_disk(5000):
        assert started(*options) == 2
    printed = capsys.readouterr()
    assert 'mIoU' in printed.out
    assert len(list((tmp_path / 'labels').iterdir())) == 2
    assert json.loads((tmp_path / 'a.json').read_text())['images'] == 2
    assert (tmp_path / 'a.csv').exists()
    assert not (tmp_path / 'a.png').exists()
    lines = [line for line in printed.out.splitlines() if ' written (' in line]
    assert [line.split()[0] for line in lines] == [
        str(tmp_path / name) for name in ('labels', 'a.json', 'a.csv')
    ]
    (error,) = [line for line in printed.err.splitlines() if line.startswith('error: ')]
    assert error.count('cannot be written') == 2
    assert str(tmp_path / 'pictures') in error
    assert str(tmp_path / 'a.png') in error


def test_random_weights_are_seeded_and_named(small, tmp_path, monkeypatch):
    """A file called random in the working directory is not meant; --weights is another name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'random').write_bytes(b'no weights')
    config, options = tiny_camvid()[1], ['-c', 'cpu', '--backend', 'nnabla', '--split', 'test']
    options += ['-d', small, '-cfg', config, '--limit', '1']
    for name, option in (('a.json', '-m'), ('b.json', '--weights')):
        assert started(*options, option, 'random', '--json', tmp_path / name) == 0
    one, other = ((tmp_path / name).read_text() for name in ('a.json', 'b.json'))
    assert one == other
    settings = json.loads(one)['settings']
    assert (settings['weights'], settings['sha256']) == ('random weights, seed 0', None)
