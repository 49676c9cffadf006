"""python -m engine.complexity."""

import json

import pytest

import helpers
from command import run
from engine import complexity


def command(*options):
    return run(complexity.build_parser, complexity.main, [str(option) for option in options])


def test_a_network_by_name_as_a_user_calls_it(tmp_path):
    report = tmp_path / 'numbers.json'
    process = helpers.run(
        '-m', 'engine.complexity', '--network', 'ddrnet23_slim_aux', '--size', '1024x2048',
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


def test_the_network_of_a_config(capsys):
    assert command('-cfg', 'configs/D3Net_S.yaml') == 0
    assert ' 98.36' in capsys.readouterr().out  # 512x1024


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
        (['--size', 'big'], '--size big: write it as HEIGHTxWIDTH'),
        (['--size', '0x8'], '--size 0x8: height and width must be at least 1'),
        (['--size', '8x8'], 'cannot take 8x8 pixels'),
        (['--network', 'ddrnet'], "no network is called 'ddrnet'"),
        (['--network', 'd3net_s', '-cfg', 'x.yaml'], '--network or with -cfg, not both'),
        (['--num-classes', '5'], '--num-classes belongs to --network'),
        (['--network', 'd3net_s', '--num-classes', '0'], 'num_classes: '),
    ],
)
def test_mistakes_are_explained_in_a_line(options, message, capsys):
    assert command(*options) == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ') and error.count('\n') == 1
    assert message in error
