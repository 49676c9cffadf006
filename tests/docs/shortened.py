"""How the tests make long commands short, and give them what only a reader has.

In a command that a rule changes, digits in the shown output match any digits. All rules that match
are applied, in order. Owners of pages add theirs, one entry a line.
"""

import re
from dataclasses import dataclass

ANY = '*'


@dataclass(frozen=True)
class Rule:
    """On a page, replace ``find``, a regular expression, in commands and snippets."""

    page: str
    find: str
    replacement: str


def options(page: str, command: str, added: str) -> Rule:
    """Add options at the end of a command that starts with ``command``, a regular expression."""
    return Rule(
        page,
        rf'(?P<c>(?:^|\s|;|&)(?:{command})\b[^|&;<>]*?)(?=\s*(?:$|[|&;<>]))',
        rf'\g<c> {added}',
    )


INFER = r'python infer\.py(?![^|&;<>]*\.onnx)'
TINY = '--set n_blocks=[1,1,1,1] pretrained= image_height=64 image_width=64'

RULES = [
    options(ANY, r'python train\.py', '--set max_iter=3 batch_size=2 --workers 1'),
    # README, first-picture, segmenting, own-data
    options('README.md', r'python train\.py', f'--no-validation {TINY}'),
    options('README.md', INFER, '--backend nnabla --set trained_size=[90,120]'),
    options('README.md', r'python evaluate\.py', '--limit 1 --set trained_size=[90,120]'),
    options('first-picture.md', INFER, '--backend nnabla --set trained_size=[90,120]'),
    options('segmenting.md', INFER, '--backend nnabla --set trained_size=[90,120]'),
    options('own-data.md', r'python evaluate\.py', '--backend nnabla'),
    options('own-data.md', INFER, '--backend nnabla --set test_size=[96,128]'),
    options('own-data.md', r'python train\.py', f'--set val_interval=1 {TINY}'),
    Rule('python.md', r'source = 0\b', "source = 'drive.avi'"),  # no test machine has a camera
]


def shortened(page: str, code: str) -> str:
    """Return a command or a snippet as the tests run it."""
    for rule in RULES:
        if rule.page in (page, ANY):
            code = re.sub(rule.find, rule.replacement, code)
    return code
