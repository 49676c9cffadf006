"""How the tests make long commands short, and give them what only a reader has.

In a command that a rule changes, digits in the shown output match any digits. All rules that match
are applied, in order. Owners of pages add theirs, one entry a line.
"""

import re
from dataclasses import dataclass

ANY = '*'
SMALL = 'n_blocks=[1,1,1,1]', 'dens_k=[4,4,4,4]', 'channels=8', 'image_height=64', 'image_width=96'
SMALL_NETWORK = '--set ' + ' '.join(f"'{key}'" for key in SMALL)


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


RULES = [
    options(ANY, r'python train\.py', '--set max_iter=3 batch_size=2 --workers 1'),
    # backends.md
    options('backends.md', r'python -m benchmarks norms', '--size 32x64 --rounds 1'),
    # evaluation.md
    options('evaluation.md', r'mpirun .*evaluate\.py', '--limit 2 --size 96x128'),
    options('evaluation.md', r'^python evaluate\.py -cfg configs/D3Net_T_camvid', '--limit 3'),
    Rule(
        'evaluation.md',
        r'--scales 0.75,1,1.25 --flip --limit 3',
        '--scales 0.25,1,0.25 --flip --limit 2',
    ),
    Rule(
        'evaluation.md', r'configs/D3Net_S\.yaml', 'configs/DDRNet23slim_cityscapes.yaml -m random'
    ),
    Rule(
        'evaluation.md', r'--split test', '--split val --size 128x256'
    ),  # the samples have no test
    options('evaluation.md', r'python train\.py', SMALL_NETWORK),
    # export.md
    Rule('export.md', r'-o (int8.xml|any.onnx)', rf'-m random {SMALL_NETWORK} -o \1'),
    options('export.md', r'python -m engine\.export .* --precision int8', '--size 96x128'),
    Rule('export.md', r'--benchmark 10', '--benchmark 2'),
    Rule('python.md', r'source = 0\b', "source = 'drive.avi'"),  # no test machine has a camera
]


def shortened(page: str, code: str) -> str:
    """Return a command or a snippet as the tests run it."""
    for rule in RULES:
        if rule.page in (page, ANY):
            code = re.sub(rule.find, rule.replacement, code)
    return code
