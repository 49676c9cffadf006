"""An export from its settings: without a parser, and with the size of the config or of a name."""

from pathlib import Path

import nnabla as nn
import pytest

import models
from engine.config.settings import ConfigSettings
from engine.export import ExportSettings, FormSettings, export_network, exporting
from support.export_runs import CAMVID, started


def test_settings_made_in_python_equal_those_of_the_command_line(working_folder, monkeypatch):
    """Without a parser, the file is the same to the last bit; each run creates one network."""
    made, create = [], models.create
    monkeypatch.setattr(models, 'create', lambda config: made.append(create(config)) or made[-1])
    options = '--size', '48x64', '--output', 'labels', '--normalise', 'float32'
    assert started(*CAMVID, '-o', 'command.onnx', *options) == 0
    nn.clear_parameters()
    settings = ExportSettings(
        Path('python.onnx'),
        config=ConfigSettings(CAMVID[1]),
        form=FormSettings(size='48x64', output='labels', normalise='float32'),
    )
    assert export_network(settings) == 0
    assert Path('python.onnx').read_bytes() == Path('command.onnx').read_bytes()
    assert len(made) == 2


@pytest.mark.parametrize(
    'options, size',
    [
        ([], (360, 480)),
        (['--set', 'test_size=[90, 120]', 'test_trained_area=false'], (90, 120)),
        (['--size', 'hd'], (720, 1280)),
        (['--size', 'hd', '--set', 'network=dabnet_r18_p8'], (768, 1280)),
    ],
)
def test_the_size_is_that_of_the_config_or_of_a_name(
    options, size, working_folder, capsys, monkeypatch
):
    """A named size is rounded to the nearest that the network accepts."""
    taken = []
    monkeypatch.setattr(exporting, 'load', lambda *arguments: taken.append(1) or 1 / 0)
    choose = exporting.choose_size
    monkeypatch.setattr(exporting, 'choose_size', lambda *a: taken.append(choose(*a)) or taken[0])
    config = CAMVID if 'network=dabnet_r18_p8' not in options else ('-cfg', 'own.yaml')
    Path('own.yaml').write_text('network: d3net_s\nnum_classes: 19\n')
    with pytest.raises(ZeroDivisionError):
        started(*config, '-o', 'a.onnx', *options)
    assert taken == [size, 1]
