"""The command python -m models.complexity: its table, its JSON file, its messages."""

import json

import pytest

from common.command import run_command
from models.complexity import __main__ as complexity
from support import programs


def command(*options):
    return run_command(
        complexity.build_parser, complexity.main, [str(option) for option in options]
    )


def test_the_program_prints_and_writes_the_numbers(tmp_path):
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
    assert total.split()[1:3] == ['36.281', '5,734,342']  # as in the reference material's table
    head = next(line for line in lines if line.startswith('seghead_extra '))
    assert head.endswith('does not run at inference')
    numbers = json.loads(report.read_text())
    assert round(numbers['gmacs'], 4) == 36.2813
    assert numbers['size'] == [1024, 2048]
    assert sum(stage['parameters'] for stage in numbers['stages']) == numbers['parameters']
    assert sum(stage['gmacs'] for stage in numbers['stages']) == pytest.approx(numbers['gmacs'])


def test_the_default_size_is_the_nearest_legal_one(capsys):
    assert command('--network', 'unet_mobilenetv2_tv_fd_edgeailite', '--num-classes', 5) == 0
    assert capsys.readouterr().out.startswith('unet_mobilenetv2_tv_fd_edgeailite, 512x1024\n')


def test_a_config_names_the_network_its_classes_and_the_size(capsys):
    """GMACs are those of docs/complexity.md; the config tests at 384x768, or crops images so."""
    config = 'configs/EdgeAILite_unet_aspp_mobilenetv2_tv_cityscapes.yaml'
    for options, expected in (
        ([], ('384x768', '2.204', '2,465,836')),
        (['--size', '64x64'], ('64x64', '0.031', '2,465,836')),
        (
            ['--num-classes', '32', '--set', 'test_size=[512, 512]'],
            ('512x512', '2.349', '2,477,848'),
        ),
    ):
        assert command('-cfg', config, *options) == 0
        first, *_, total, _, _ = capsys.readouterr().out.splitlines()
        assert (first.split(', ')[1], *total.split()[1:3]) == expected


def test_a_config_without_a_size_counts_at_512x512(capsys):
    assert command('-cfg', 'configs/CSAIL_resnet18dilated8_c1_deepsup_ade20k.yaml') == 0
    first, *_, total, _, _ = capsys.readouterr().out.splitlines()
    assert first == 'csail_resnet18dilated8_c1_deepsup, 512x512'
    assert round(float(total.split()[1]), 2) == 58.11


def test_numbers_are_printed_although_their_file_cannot_be_written(capsys):
    assert command('--network', 'ddrnet23_slim', '--json', '/dev/full') == 2
    printed = capsys.readouterr()
    assert printed.out.startswith('ddrnet23_slim, 512x1024\n')
    assert 'error: /dev/full: cannot be written (No space left on device)' in printed.err


def test_aux_counts_the_auxiliary_heads(capsys):
    assert command('--network', 'ddrnet23_aux', '--aux') == 0
    output = capsys.readouterr().out
    assert ' 36.98' in output or ' 36.99' in output
    assert 'does not run' not in output


@pytest.mark.parametrize(
    'options, message',
    [
        ([], 'pass --network NAME, or -cfg YAML'),
        (['--network', 'd3net_s', '--set', 'lr=1'], 'leave out -cfg and --set'),
        (['--network', 'd3net_s', '-cfg', 'configs/D3Net_S.yaml'], 'leave out -cfg and --set'),
        (
            ['-cfg', 'configs/D3Net_S.yaml', '--json', 'configs/D3Net_S.yaml'],
            'is a config and would be overwritten',
        ),
        (['--network', 'd3net_s', '--size', 'big'], '--size big: write it as HEIGHTxWIDTH'),
        (['--network', 'd3net_s', '--size', '0x8'], '--size 0x8: height and width must be'),
        (['--network', 'd3net_s', '--size', '8x8'], 'cannot take 8x8 pixels'),
        (['--network', 'ddrnet'], "no network is called 'ddrnet'"),
        (['--network', 'd3net_s', '--num-classes', '0'], 'num_classes: '),
    ],
)
def test_a_mistake_gives_one_line(options, message, capsys):
    assert command(*options) == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ') and error.count('\n') == 1
    assert message in error
