"""Documents name the options that commands have, and no others."""

import pytest

from docs import blocks, commands, options
from docs.page_run import PAGES
from support import programs


@pytest.mark.parametrize('program', options.PAGES_OF)
def test_every_option_of_a_command_is_documented(program):
    """A page of another command, with an option of that name, does not count."""
    spellings = options.spellings_of(program)
    pages = [programs.PROJECT / 'docs' / f'{name}.md' for name in options.PAGES_OF[program]]
    own, everything = ('\n'.join(path.read_text() for path in paths) for paths in (pages, PAGES))
    named = options.named_in(own) | options.short_ones_in(own)
    named |= options.named_in(everything) & options.COMMON
    assert len(spellings) > 2
    missing = [each for each in spellings if not named & set(each)]
    assert not missing, f'{program}: no page has {", ".join(map(" ".join, missing))}'


@pytest.mark.parametrize('path', PAGES, ids=lambda path: path.stem)
def test_every_documented_option_exists(path):
    unknown = options.named_in(path.read_text()) - options.all_options()
    assert not unknown, f'{path}: no command has {", ".join(unknown)}'


@pytest.mark.parametrize('path', PAGES, ids=lambda path: path.stem)
def test_commands_are_shown_with_options_of_their_own(path):
    """Of commands that are not run here, too."""
    faults = [
        f'{path.name}, line {command.line}: {option}'
        for block in blocks.read(path).blocks
        if block.language == 'sh' and not block.file
        for command in commands.split(block, path.name)
        for option in options.unknown_in(command.text)
    ]
    assert faults == []


def test_an_option_of_another_command_is_found():
    line = 'mpirun -n 2 python train.py --set a=1 --sett b=2 -cfg x && python -m datasets.prepare '
    assert options.unknown_in(f'{line} split -d DATA --val 0.2 --stats | tail -f --pid 1') == [
        '--sett', '--stats',
    ]  # fmt: skip
    assert options.unknown_in('python segment.py net.onnx --benchmark -z | sort -k 2') == ['-z']
    assert options.named_in('`--no-such-option` and -- or ---') == {'--no-such-option'}
    assert '--no-such-option' not in options.all_options()
