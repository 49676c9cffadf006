"""python -m models.complexity."""

import json

import pytest

import models
from common.command import run_command
from engine import config
from models.complexity import __main__ as complexity
from support import programs


def command(*options):
    return run_command(
        complexity.build_parser, complexity.main, [str(option) for option in options]
    )


def test_a_network_by_name_as_a_user_calls_it(tmp_path):
    report = tmp_path / 'numbers.json'
    process = programs.run(
        '-m', 'models.complexity', '--network', 'ddrnet23_slim_aux', '--size', '1024x2048',
        '--json', report,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert process.stderr == ''
    lines = process.stdout.splitlines()
    assert lines[0] == 'ddrnet23_slim_aux, 1024x2048'
    total = next(line for line in lines[1:] if line.startswith('ddrnet23_slim_aux '))
    assert total.split()[1:3] == ['36.281', '5,734,342']  # the table of the reference material
    head = next(line for line in lines if line.startswith('seghead_extra '))
    assert head.endswith('does not run at inference')
    numbers = json.loads(report.read_text())
    assert round(numbers['gmacs'], 4) == 36.2813
    assert numbers['size'] == [1024, 2048]
    assert sum(stage['parameters'] for stage in numbers['stages']) == numbers['parameters']
    assert sum(stage['gmacs'] for stage in numbers['stages']) == pytest.approx(numbers['gmacs'])


def test_the_network_of_every_config_has_a_name():
    """Its hyper-parameters are those of the name and the number of classes."""
    paths = sorted((programs.PROJECT / 'configs').glob('*.yaml'))
    assert len(paths) > 40
    for path in paths:
        network = models.create(config.load(path))
        own = ('d3net_s', 'd3net_l', 'd3net_t') if network.name == 'd3net' else (network.name,)
        named = [models.create(name, num_classes=network.info.num_classes) for name in own]
        assert network.hyper in [other.hyper for other in named], path


def test_without_a_size_the_nearest_legal_one(capsys):
    assert command('--network', 'unet_mobilenetv2_tv_fd_edgeailite', '--num-classes', 5) == 0
    assert capsys.readouterr().out.startswith('unet_mobilenetv2_tv_fd_edgeailite, 512x1024\n')


def test_auxiliary_heads_can_be_counted(capsys):
    assert command('--network', 'ddrnet23_aux', '--aux') == 0
    output = capsys.readouterr().out
    assert ' 36.98' in output or ' 36.99' in output
    assert 'does not run' not in output


@pytest.mark.parametrize(
    'options, message',
    [
        ([], 'required: --network'),
        (['--network', 'd3net_s', '--size', 'big'], '--size big: write it as HEIGHTxWIDTH'),
        (['--network', 'd3net_s', '--size', '0x8'], '--size 0x8: height and width must be'),
        (['--network', 'd3net_s', '--size', '8x8'], 'cannot take 8x8 pixels'),
        (['--network', 'ddrnet'], "no network is called 'ddrnet'"),
        (['--network', 'd3net_s', '--num-classes', '0'], 'num_classes: '),
    ],
)
def test_mistakes_are_explained_in_a_line(options, message, capsys):
    assert command(*options) == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ') and error.count('\n') == 1
    assert message in error
