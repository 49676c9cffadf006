"""The command python -m models: its table, its lists of names, its messages."""

import time

import pytest

import models
from common.command import run_command
from models import __main__ as listing
from support import programs


def command(*options):
    return run_command(listing.build_parser, listing.main, list(options))


def test_the_program_prints_all_names():
    process = programs.run('-m', 'models', '--names')
    assert process.returncode == 0, process.stderr
    assert process.stdout.split() == models.names()


def test_columns_of_named_networks(capsys):
    assert command('dabnet_r18_p16', 'csail_resnet18_upernet', 'ddrnet23_slim') == 0
    head, large, upernet, slim = (line.split() for line in capsys.readouterr().out.splitlines())
    assert head[0] == 'classes'
    assert large[:7] == [
        'dabnet_r18_p16', '19', '152,484,761', '40.77', '512x1024', '512', '512',
    ]  # fmt: skip
    assert upernet[1] == '150' and upernet[5:7] == ['1', '33']
    assert slim[2:4] == ['5,695,987', '9.07'] and 'arXiv:2101.06085' in slim[-1]


def test_markdown_has_the_cells_of_the_table(capsys):
    assert command('--family', 'd3net', '--markdown') == 0
    titles, rule, *rows = (
        [cell.strip() for cell in line.strip('|').split('|')]
        for line in capsys.readouterr().out.splitlines()
    )
    assert titles[:3] == ['network', 'classes', 'parameters'] and set(''.join(rule)) == {'-', ':'}
    assert rows[0] == ['`d3net`', *[''] * 6, listing._cells('d3net')[0]]
    assert rows[1:] == [[f'`{name}`', *listing._cells(name)] for name in models.names('d3net_*')]


def test_networks_of_a_family(capsys):
    assert command('--family', 'd3net') == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ['d3net', 'd3net_s', 'd3net_l', 'd3net_t']
    assert lines[0].endswith('all hyper-parameters are required')


def test_names_of_a_family(capsys):
    assert command('--family', 'ddrnet', '--names') == 0
    assert capsys.readouterr().out.split() == [n for n in models.names() if n.startswith('ddrnet')]


def test_names_that_match_patterns(capsys):
    """In the order of the options; a name that matches twice is listed once."""
    assert command('ddrnet39*', 'dabnet_e', 'ddrnet23_slim', 'ddrnet*_slim*', '--names') == 0
    assert capsys.readouterr().out.split() == [
        'ddrnet39', 'ddrnet39_aux', 'dabnet_e', 'ddrnet23_slim', 'ddrnet23_slim_aux',
    ]  # fmt: skip


@pytest.mark.whole_registry
def test_all_networks_are_listed_within_30_seconds(capsys):
    started = time.process_time()
    assert command() == 0
    assert time.process_time() - started < 30
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(models.names())


@pytest.mark.parametrize(
    'options, message',
    [
        (['--family', 'resnet'], 'families are csail, d3net, dabnet, ddrnet, edgeailite'),
        (['ddrnet'], "no network is called 'ddrnet'"),
        (['ddrnet39', '--family', 'ddrnet'], 'not both'),
        (['DDRNet*'], "no network matches 'DDRNet*'; python -m models --names lists all"),
    ],
)
def test_a_mistake_gives_one_line(options, message, capsys):
    assert command(*options) == 2
    assert message in capsys.readouterr().err
