"""python -m engine.complexity, and the tables of README.md."""

import json
from collections import Counter
from dataclasses import replace

import pytest

import helpers
import models
from command import run
from d3net import graph
from engine import complexity, complexity_published, complexity_tables, complexity_tidl
from engine.complexity_tidl import Export
from models.complexity import count, outline


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


def published(network, gmacs):
    """The row of TI's table."""
    return next(
        row
        for row in complexity_published.PUBLISHED
        if (row.network, row.gmacs) == (network, gmacs)
    )


def test_published_numbers():
    """Whatever differs is explained, and no note is without a row."""
    text = complexity_published.published()
    table = rows(text)[2:]
    assert len(table) == 22
    for row in table:
        difference = float(row[6])
        assert float(row[4]) + difference == pytest.approx(float(row[5]), abs=1e-3)
        assert (abs(difference) > 0.01) == bool(row[7])
    explained = [row for row in table if row[7]]
    assert [row[0] for row in explained] == ['ADE20K32'] * 6 + ['Cityscapes'] * 2
    assert [row[7][-3:] for row in explained] == ['(1)'] * 4 + ['(2)'] * 2 + ['(3)', '(4)']
    assert all(f'\n{number}. ' in text for number in (1, 2, 3, 4))
    for row in explained[:6]:
        recounted = row[7].split(': ')[1].split()[0]
        assert f'{float(recounted):.{len(row[4]) - 2}f}' == row[4]
    assert explained[6][7] == "contradicted by TI's 26.49: 26.48547 (3)"
    assert explained[7][7] == "contradicted by TI's 15.07 (4)"


def test_readme_has_the_tables():
    """All their lines, as the command prints them; notes may be broken elsewhere."""
    process = helpers.run('-m', 'engine.complexity', '--published')
    assert process.returncode == 0, process.stderr
    readme = (helpers.PROJECT / 'README.md').read_text()
    lines = process.stdout.splitlines()
    table = [line for line in lines if line.startswith('|')]
    assert len(table) > 40
    assert [line for line in table if line not in readme.splitlines()] == []
    notes = [line for line in lines if line and line not in table]
    assert len(notes) == 5
    words = ' '.join(readme.split())
    assert [note for note in notes if note not in words] == []


@pytest.mark.parametrize(
    'network, gmacs, logged',
    [
        ('deeplabv3plus_mobilenetv2_tv', 3.28, 3.2161792),
        ('unet_aspp_mobilenetv2_tv', 2.427, 2.349121536),
        ('fpn_aspp_mobilenetv2_tv', 3.481, 3.403235328),
        ('fpn_aspp_mobilenetv2_1p4_tv', 6.646, 6.535827456),
        ('fpn_aspp_regnetx400mf', 3.1526, 3.076521984),
        ('fpn_aspp_regnetx800mf', 8.0683, 7.910457344),
    ],
)
def test_logs_of_trainings_have_the_convolutions(network, gmacs, logged):
    """TI's logs count multiply-accumulates to the last one."""
    assert complexity_published.computed(published(network, gmacs)) == logged


QUANTIZATION = Export(final_resize=True, activation=False, normalisation=True)


@pytest.mark.parametrize(
    'network, size, gmacs',
    [
        ('fpn_aspp_regnetx800mf', (384, 768), '8.90'),
        ('fpn_aspp_regnetx1p6gf', (512, 1024), '26.49'),
        ('fpn_aspp_regnetx3p2gf', (768, 1536), '111.46'),
    ],
)
def test_the_table_of_quantization(network, size, gmacs):
    """The numbers that TI's other table has for RegNetX."""
    network = models.create(f'{network}_edgeailite')
    assert f'{complexity_tidl.count(network, size, QUANTIZATION) / 1e9:.2f}' == gmacs


def test_what_the_notes_say_of_384():
    """Four times as many pixels have four times the count; 34 classes would give it, and no other
    way to count does.
    """
    row = published('fpn_aspp_mobilenetv2_tv', 3.84)
    network = models.create('fpn_aspp_mobilenetv2_tv_edgeailite')
    large, small = (count(network, size)[0] for size in ((768, 1536), row.size))
    assert f'{large / 1e9:.2f}' == '15.07' and large == 4 * small
    with_34 = models.create('fpn_aspp_mobilenetv2_tv_edgeailite', num_classes=34)
    assert round(count(with_34, row.size)[0] / 1e9, 3) == 3.838
    for explanation in complexity_published.EXPLANATIONS[:3]:
        counted = complexity_tidl.count(network, row.size, explanation.export)
        assert abs(counted / 1e9 - row.gmacs) > complexity_published.AGREES


def test_a_difference_without_an_explanation_is_an_error(monkeypatch):
    monkeypatch.setattr(complexity_published, 'EXPLANATIONS', ())
    with pytest.raises(ValueError, match='ADE20K32.*without an explanation'):
        complexity_published.published()


def test_an_explanation_that_misses_a_digit_is_an_error(monkeypatch):
    """The RegNets' export has other numbers than the MobileNets', so it cannot explain them."""
    first, other, *_ = complexity_published.EXPLANATIONS
    wrong = replace(first, export=other.export)
    monkeypatch.setattr(complexity_published, 'EXPLANATIONS', (wrong,))
    with pytest.raises(ValueError, match='deeplabv3plus.*which is not 3.28'):
        complexity_published.published()


def test_what_an_export_adds():
    """By hand for 19 classes, 64x128 pixels and logits at a quarter: the parts differ by themselves
    and do not depend on each other.
    """
    network = models.create('fpn_aspp_regnetx400mf_edgeailite')

    def counted(**parts):
        return complexity_tidl.count(network, (64, 128), Export(**parts))

    plain = counted(final_resize=False)
    pixels = 64 * 128
    assert counted(final_resize=True) - plain == 4 * 19 * pixels + pixels - pixels // 16
    assert counted(final_resize=False, normalisation=True) - plain == 3 * pixels
    outlined = outline(network, (64, 128))
    size = Counter()
    for function in graph.functions(*outlined.outputs):
        size[function.info.type_name] += function.outputs[0].size
    assert plain - counted(final_resize=False, activation=False) == size['ReLU'] > 0
    batch_norm = counted(final_resize=False, batch_norm=True) - plain
    assert batch_norm == size['BatchNormalization'] > 0


def test_a_function_without_a_rule_is_an_error():
    with pytest.raises(ValueError, match='AveragePooling'):
        complexity_tidl.count(models.create('ddrnet23_slim'), (64, 64), Export(True))


def test_usual_sizes(monkeypatch):
    """The table has what the reference material has, and D3Net-T at CamVid's size."""
    usual = {'d3net_t': (360, 480), 'ddrnet23_slim': (1024, 2048), 'dabnet_e': (1024, 2048)}
    assert usual.items() <= complexity_tables.USUAL.items()
    monkeypatch.setattr(complexity_tables, 'USUAL', usual)
    small, slim, dab = rows(complexity_tables.usual())[2:]
    assert small[2] == '360x480'
    assert slim[1:4] == ['5,695,987', '1024x2048', '36.28'] and slim[-1].endswith('+')
    assert dab[1:4] == ['9,002,993', '1024x2048', '63.85']
