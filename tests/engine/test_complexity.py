"""python -m engine.complexity, and the tables of README.md."""

import json

import pytest

import helpers
from command import run
from engine import complexity, complexity_tables


def command(*options):
    return run(complexity.build_parser, complexity.main, [str(option) for option in options])


def rows(text):
    """Cells of a Markdown table's rows."""
    lines = [line for line in text.splitlines() if line.startswith('| ')]
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]


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
        (['--published', '--size', '8x8'], '--size has no effect'),
        (['--published', '--num-classes', '0'], '--num-classes has no effect'),
    ],
)
def test_mistakes_are_explained_in_a_line(options, message, capsys):
    assert command(*options) == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ') and error.count('\n') == 1
    assert message in error


def test_published_numbers():
    """Whatever differs has a note, and no note is without a row."""
    text = complexity_tables.published()
    table = rows(text)[2:]
    assert len(table) == 22
    noted = [row for row in table if '(' in row[-1]]
    for row in table:
        difference = float(row[-1].split()[0])
        assert float(row[4]) + difference == pytest.approx(float(row[5]), abs=1e-3)
        assert (abs(difference) > 0.01) == (row in noted)
    assert {row[-1].split()[1] for row in noted} == {'(1)', '(2)', '(3)'}
    assert [row[0] for row in noted] == ['ADE20K32'] * 6 + ['Cityscapes'] * 2
    assert all(f'\n{number}. ' in text for number in (1, 2, 3))


def test_readme_has_the_tables():
    """All their lines, as the command prints them; notes there may be broken elsewhere."""
    process = helpers.run('-m', 'engine.complexity', '--published')
    assert process.returncode == 0, process.stderr
    lines = [line for line in process.stdout.splitlines() if line.startswith('|')]
    assert len(lines) > 40
    readme = (helpers.PROJECT / 'README.md').read_text().splitlines()
    assert [line for line in lines if line not in readme] == []


def test_what_the_notes_say():
    """MobileNetV2 with FPN at 384x768 has TI's GigaMACs with 34 classes."""
    row = next(row for row in complexity_tables.PUBLISHED if row.gmacs == 3.84)
    with_34 = complexity_tables.Published('', row.network, 34, row.size, 0)
    assert round(complexity_tables.computed(with_34), 2) == 3.84


def test_a_difference_without_a_note_is_an_error(monkeypatch):
    monkeypatch.setattr(complexity_tables, 'NOTES', ())
    with pytest.raises(ValueError, match='ADE20K32.*without a note'):
        complexity_tables.published()


def test_usual_sizes(monkeypatch):
    """The table has what the reference material has, and D3Net-T at CamVid's size."""
    usual = {'d3net_t': (360, 480), 'ddrnet23_slim': (1024, 2048), 'dabnet_e': (1024, 2048)}
    assert usual.items() <= complexity_tables.USUAL.items()
    monkeypatch.setattr(complexity_tables, 'USUAL', usual)
    small, slim, dab = rows(complexity_tables.usual())[2:]
    assert small[2] == '360x480'
    assert slim[1:4] == ['5,695,987', '1024x2048', '36.28'] and slim[-1].endswith('+')
    assert dab[1:4] == ['9,002,993', '1024x2048', '63.85']
