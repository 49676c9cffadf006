"""The table of the configs: python -m models --table."""

import shlex

import pytest

from common.command import run_command
from engine.config.published_score import PublishedScore
from engine.zoo import table
from engine.zoo.entries import ZooEntry
from engine.zoo.weights_status import ELSEWHERE, HERE, WeightsStatus
from models import __main__ as listing
from support import programs
from support.config_files import NAMES

PAGE = programs.PROJECT / 'docs' / 'configs.md'
SELECTED = ('d3net_t', 'ddrnet23_slim_aux', 'dabnet_e')  # networks of the fast test


def run(*options):
    return run_command(listing.build_parser, listing.main, ['--table', *options])


def entry(command, state=ELSEWHERE):
    """Return an entry of a made-up config."""
    return ZooEntry(
        config='own',
        network='a_network',
        data_set='voc',
        size=(300, 400),
        parameters=5000,
        gmacs=6.125,
        score=PublishedScore(miou=70, source='a paper', split='val'),
        weights=WeightsStatus(state, 'somewhere', command=command),
    )


def rows(markdown):
    """Return the rows of a Markdown table, each as the texts of its cells."""
    lines = [line for line in markdown.splitlines() if line.startswith('| `')]
    return {tuple(cell.strip() for cell in line.strip('|').split(' | ')) for line in lines}


def test_a_row_has_the_facts_of_the_config(monkeypatch, tmp_path, capsys):
    """Parameters and GMACs are those of docs/complexity.md, the score is the published one."""
    monkeypatch.chdir(tmp_path)
    assert run('d3net_t', 'csail_resnet50_upernet') == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 120
    head, older, newer, small = (block.splitlines() for block in out.split('\n\n'))
    assert head[0].split()[-3:] == ['mIoU,', '%', 'weights']
    assert newer[0].startswith('CSAIL_resnet50_upernet_ade20k ')
    assert older[0].split() == [
        'CSAIL_baseline_resnet50_upernet_ade20k', 'ade20k', '512x512', '64,222,294', '244.71',
        '41.55', 'elsewhere',
    ]  # fmt: skip
    assert older[1:3] == [
        '    network: csail_resnet50_upernet',
        '    mIoU: CSAILVision/semantic-segmentation-pytorch at 42bc6cb, README.md '
        '(val, all five sizes)',
    ]
    assert older[4].strip() == 'http://sceneparsing.csail.mit.edu/model/pytorch/'
    assert small[0].split() == [
        'D3Net_T_camvid', 'camvid', '360x480', '2,030,805', '7.91', '57.09', 'here',
    ]  # fmt: skip
    assert small[1] == '    network: d3net_t'  # although the config says d3net
    assert not any('command' in line for line in small)


def test_a_long_command_is_one_command_for_a_shell():
    options = ' '.join(f'-i folder/checkpoint_{number}.pth' for number in range(9))
    command = f'python -m models.convert --network a_network {options} -o out.h5'
    lines = table.as_text([entry(command)])
    shown = lines[lines.index('    weights: somewhere') + 1 :]
    assert len(shown) > 2 and max(map(len, shown)) <= 120
    assert not any(line.endswith('-i \\') for line in shown)  # options keep their values
    assert shlex.split('\n'.join(shown).replace('\\\n', ' '))[1:] == shlex.split(command)


def test_the_markdown_is_the_same_where_weights_are():
    (row,) = rows('\n'.join(table.as_markdown([entry('get it')])))
    assert row == (
        '`own`', '`a_network`', 'voc', '300x400', '5,000', '6.12', '70.00', 'a paper (val)',
        'somewhere', '`get it`',
    )  # fmt: skip
    assert table.as_markdown([entry('get it', HERE)]) == table.as_markdown([entry('get it')])
    assert not any('get it' in line for line in table.as_text([entry('get it', HERE)]))


@pytest.mark.parametrize('networks', [SELECTED, pytest.param((), marks=pytest.mark.whole_registry)])
def test_the_page_of_the_configs_has_the_rows_of_the_command(networks, capsys):
    assert run('--markdown', *networks) == 0
    found, page = rows(capsys.readouterr().out), rows(PAGE.read_text())
    assert len(found) >= len(networks) and found <= page, 'write docs/configs.md anew'
    assert {name for name, *_ in page} == {f'`{name}`' for name in NAMES}


@pytest.mark.parametrize(
    'options, message',
    [
        (['csail_resnet18_c1'], 'no config has the network csail_resnet18_c1; python -m models --'),
        (['--names'], 'pass --names or --table, not both'),
        (['--weights'], 'pass --weights or --table, not both'),
    ],
)
def test_a_mistake_gives_one_line(options, message, capsys):
    assert run(*options) == 2
    assert message in capsys.readouterr().err


def test_lists_of_names_and_files_have_no_markdown(capsys):
    assert run_command(listing.build_parser, listing.main, ['--names', '--markdown']) == 2
    assert '--names has no Markdown' in capsys.readouterr().err
