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
