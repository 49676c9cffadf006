"""The command line of the benchmarks: defaults, choices and one-line errors."""

import pytest

from benchmarks import __main__ as command
from benchmarks import inference, peer
from common import machine
from common.command import run_command
from support import programs

pytestmark = pytest.mark.bench


def error_line(capsys, *arguments) -> str:
    """Run the command in this process; return its only line on standard error."""
    assert run_command(command.build_parser, command.main, list(map(str, arguments))) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith('error: '), lines
    return lines[0]


@pytest.mark.parametrize(
    'options, message',
    [
        (['--size', '4x4'], 'cannot take 4x4 pixels'),
        (['--size', '64'], '--size 64: write it as HEIGHTxWIDTH'),
        (['--batches', '2'], '--batches is an option of loader; training does not have it'),
    ],
)
def test_bad_options_of_training(options, message, tiny, capsys):
    assert message in error_line(capsys, 'training', '-cfg', tiny, *options)


@pytest.mark.parametrize(
    'options, message',
    [
        (['--size', 'big'], '--size big: write it as HEIGHTxWIDTH'),
        (['--rounds', '0'], '--rounds must be at least 1'),
        (['--size', '8x8'], 'cannot take 8x8 pixels'),
        (['--batches', '8'], '--batches is an option of loader; blocks does not have it'),
        (
            ['-d', 'data'],
            '--data-dir is an option of inference and loader; blocks does not have it',
        ),
    ],
)
def test_bad_options_of_blocks(options, message, capsys):
    assert message in error_line(capsys, 'blocks', *options)


@pytest.mark.parametrize(
    'options, message',
    [
        (['--batch-size', '0'], '--batch-size must be at least 1'),
        (
            ['--size', '64x64'],
            '--size is an option of blocks, inference, norms and training; loader does not',
        ),
        (['-c', 'cpu'], '--context is an option of blocks, inference and training; loader does'),
    ],
)
def test_bad_options_of_loader(options, message, capsys):
    assert message in error_line(capsys, 'loader', *options)


@pytest.mark.parametrize(
    'options, message',
    [
        (['--size', '4x4'], '--size 4x4: d3net cannot take it, the nearest is'),
        (['--threads', '9999'], '--threads 9999: only'),
        (['--threads', '0'], '--threads must be at least 1'),
        (['--backend', 'nnabla', '--precision', 'int8'], 'nothing to compare: NNabla computes in'),
        (['--batch-size', '2'], '--batch-size is an option of loader, norms and training'),
        (['--seconds', '-1'], '--seconds must be at least 0'),
        (['--peer', 'pytorch', '--peer-python', '/no/python'], 'no such program'),
    ],
)
def test_bad_options_of_inference(options, message, tiny, capsys):
    options = [*options, '-c', 'cpu', '--rounds', 1]
    assert message in error_line(capsys, 'inference', '-cfg', tiny, *options)


def test_other_kinds_take_one_config(tiny):
    process = programs.run('-m', 'benchmarks', 'training', '-cfg', tiny, tiny)
    assert 'training takes one config' in programs.error_line(process)


@pytest.mark.parametrize(
    'augmentation, keys',
    [
        ('short_sides', 'short_sides: [100, 200]'),
        ('resize_crop', 'resize_height: 800\nresize_width: 1000'),
    ],
)
def test_only_scale_crop_has_a_conventional_pipeline(augmentation, keys, camvid, tmp_path, capsys):
    config = tmp_path / 'config.yaml'
    base = programs.PROJECT / 'configs/D3Net_T_camvid.yaml'
    config.write_text(f'_base_: {base}\naugmentation: {augmentation}\n{keys}\n')
    error = error_line(capsys, 'loader', '-d', camvid, '-cfg', config)
    assert f'augmentation: {augmentation} has no conventional pipeline' in error


def test_threads_default_to_the_machines_limit(monkeypatch):
    """A cgroup may allow fewer cores than the process can run on."""
    plans = []

    def measure(configs, compared, plan):
        plans.append(plan)
        return [], {}

    monkeypatch.setattr(inference, 'measure_inference', measure)
    monkeypatch.setattr(machine, 'cgroup_limit', lambda: 1.5)
    for options in ([], ['--threads', '7']):
        args = command.build_parser().parse_args(['inference', '-c', 'cpu', *options])
        command._apply_defaults(args)
        command._inference(args, [])
    assert [plan.threads for plan in plans] == [1, 7]


def test_default_forms_of_pytorch_depend_on_the_device():
    """On a CPU torch.compile runs only on request."""

    def forms(context, *options):
        args = command.build_parser().parse_args(['inference', *options])
        command._apply_defaults(args)
        return command._forms(args, context)

    assert forms('cpu') == ['contiguous', 'channels_last']
    assert forms('cudnn') == ['contiguous', 'channels_last', 'compiled', 'recorded']
    assert forms('cpu', '--peer-form', 'compiled') == ['compiled']
    assert set(command.FORMS) == set(peer.FORMS)
