"""The benchmarks' table for terminals, and the size that the benchmark of inference takes."""

import pytest

from benchmarks import __main__ as command
from benchmarks import harness, inference
from benchmarks.harness import TimingResult
from engine import config as configs
from support.config_files import FOLDER

NAMES = ('EdgeAILite_unet_aspp_mobilenetv2_tv_cityscapes: nnabla float32', 'own: auto bfloat16')


def results(**details):
    """Return results whose details are the given values of both contestants."""
    return [
        TimingResult(
            name, 10.5, 9.25, 12, number + 1.0, {key: both[number] for key, both in details.items()}
        )
        for number, name in enumerate(NAMES)
    ]


def test_columns_beyond_the_width_follow_in_further_tables():
    """Every line fits, every value is shown once, and each table has all contestants."""
    values = {f'column {number}': (number + 0.25, number + 0.5) for number in range(16)}
    text = harness.format_table(results(**values), {'note': 'word ' * 60})
    assert max(map(len, text.splitlines())) <= 120
    facts, *tables = text.split('\n\n')
    assert facts.count('word') == 60
    assert len(tables) > 1
    headers, first, second = zip(*(table.splitlines() for table in tables))
    assert all(line.startswith(NAMES[0]) for line in first)
    assert all(line.startswith(NAMES[1]) for line in second)
    shown = [cell for line in headers for cell in line.split('  ') if cell.strip()]
    assert [cell.strip() for cell in shown] == [*harness.TIMES, *values]
    cells = ' '.join(line.removeprefix(NAMES[1]) for line in second).split()
    assert cells == ['10.50', '9.25', '12.00', '2.00x', *(f'{n + 0.5:g}' for n in range(16))]


def test_a_column_without_values_is_left_out_with_what_is_said_of_it():
    text = harness.format_table(
        results(full=(1.0, 2.0), half=(None, 3.0), empty=(None, None)),
        {'empty': 'what it means', 'half': 'what half means'},
    )
    assert 'what half means' in text and 'empty' not in text
    header, first, second = text.split('\n\n')[1].splitlines()
    assert header.split()[-2:] == ['full', 'half']
    assert (first.split()[-1], second.split()[-1]) == ('-', '3')


def test_details_of_some_results_only_have_a_column():
    """Networks can have different contestants, and these different details."""
    first, second = results(a=(1.0, 2.0))
    other = TimingResult('c', 1, 1, 1, 1, {'b': 3.0})
    lines = harness.format_table([first, other], {}).splitlines()
    assert [line.split()[-2:] for line in lines[-3:]] == [['a', 'b'], ['1', '-'], ['-', '3']]
    assert second.name in harness.format_table([second], {})


@pytest.mark.parametrize(
    'options, sizes', [([], [(360, 480), (384, 768)]), (['--size', '64x96'], [(64, 96)] * 2)]
)
def test_inference_defaults_to_the_size_of_each_config(options, sizes, monkeypatch):
    measured = []

    def measure(config, network, compared, plan, size, folder):
        measured.append(size)
        return results(), {'size': size}

    monkeypatch.setattr(inference, '_measure_network', measure)
    names = ('D3Net_T_camvid', 'EdgeAILite_unet_aspp_mobilenetv2_tv_cityscapes')
    loaded = [configs.load(FOLDER / f'{name}.yaml') for name in names]
    args = command.build_parser().parse_args(['inference', '-c', 'cpu', *options])
    command._apply_defaults(args)
    _, facts = command._inference(args, loaded)
    assert measured == sizes
    assert [facts[f'size, {name}'] for name in names] == sizes
