"""The tables of the tests of documents name pages and commands that are there."""

import re

from docs import blocks, commands, elsewhere, shortened, stage
from docs.page_run import PAGES
from support import programs

NAMES = {path.name for path in PAGES}


def shown(path):
    """Return the commands of a page, and its blocks of Python and files."""
    found = []
    for block in blocks.read(path).blocks:
        if block.language == 'sh' and not block.file:
            found += [command.text for command in commands.split(block, path.name)]
        else:
            found.append(block.code)
    return found


def test_every_page_with_data_is_there():
    assert stage.STAGE.keys() <= NAMES


def test_every_rule_shortens_something():
    """Rules see what those before them made of a command."""
    unused = list(shortened.RULES)
    for path in PAGES:
        for code in shown(path):
            for rule in shortened.RULES:
                if rule.page in (path.name, shortened.ANY) and re.search(rule.find, code):
                    code = re.sub(rule.find, rule.replacement, code)
                    unused = [each for each in unused if each is not rule]
    assert unused == []


def test_every_command_that_is_run_elsewhere_is_shown():
    pages = [code for path in PAGES for code in shown(path)]
    for pattern, place in elsewhere.ELSEWHERE.items():
        assert any(re.fullmatch(pattern, code) for code in pages), pattern
        assert (programs.PROJECT / place).exists(), place
