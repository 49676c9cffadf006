"""How the tests make long commands short, and give them what only a reader has.

In a command that a rule changes, digits in the shown output match any digits. All rules that match
are applied, in order. Owners of pages add theirs, one entry a line.
"""

import re
from dataclasses import dataclass

ANY = '*'
SMALL = (
    'n_blocks=[1,1,1,1]', 'dens_k=[4,4,4,4]', 'channels=8', 'image_height=64', 'image_width=96',
    'test_trained_area=false', 'test_size=[64,96]',
)  # fmt: skip
SMALL_NETWORK = '--set ' + ' '.join(f"'{key}'" for key in SMALL)
SMALL_KEYS = ', '.join(f"'{key}'" for key in (*SMALL, 'max_iter=3', 'batch_size=2'))


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
    # datasets.md, training.md, several-devices.md, reproducibility.md: a small network on small
    # crops, except where weights are loaded
    options('training.md', r'python train\.py(?!.* -p )', SMALL_NETWORK),
    options(
        'training.md',
        r'python train\.py(?=.* -p )',
        '--set max_iter=1 batch_size=1 image_height=64 image_width=96 --no-validation',
    ),
    Rule('training.md', r"'max_iter=100',", f'{SMALL_KEYS},'),
    options('training.md', r'python -m benchmarks norms', '--size 64x96 --rounds 1'),
    options('datasets.md', r'python train\.py', SMALL_NETWORK),
    options('several-devices.md', r'python train\.py', SMALL_NETWORK),
    options('reproducibility.md', r'python train\.py', SMALL_NETWORK),
    # README, first-picture, segmenting, own-data
    options('README.md', r'python train\.py', f'--no-validation {TINY}'),
    options('README.md', INFER, '--backend nnabla --set trained_size=[90,120]'),
    options('README.md', r'python evaluate\.py', '--limit 1 --set trained_size=[90,120]'),
    options('first-picture.md', INFER, '--backend nnabla --set trained_size=[90,120]'),
    options('segmenting.md', INFER, '--backend nnabla --set trained_size=[90,120]'),
    options('own-data.md', r'python evaluate\.py', '--backend nnabla'),
    options('own-data.md', INFER, '--backend nnabla --set test_size=[96,128]'),
    options('own-data.md', r'python train\.py', f'--set val_interval=1 {TINY}'),
    options('tasks.md', r'python train\.py', '--set image_height=32 image_width=64'),
    Rule('tasks.md', r'--size 384x768', '--size 32x64'),
    # troubleshooting.md: a batch of one is refused
    options('troubleshooting.md', r'python train\.py', '--no-validation'),
    Rule('troubleshooting.md', r'(.* batch_size=1 .*) --set max_iter=3 batch_size=2 ', r'\1 '),
    # security.md
    Rule('security.md', r'^python -m fuzz(?: --readers png h5 --seed 7)?\b', r'\g<0> -n 12'),
    # serve.md: in the background, on a port that other tests leave alone
    Rule('serve.md', r'^python -m engine\.serve .*', r'\g<0> --port 18473 &'),
    Rule('serve.md', r'127\.0\.0\.1:8000', '127.0.0.1:18473'),
    Rule(
        'tasks.md', r'^python -m engine\.serve .*', r'\g<0> -c cpu --backend nnabla --port 18474 &'
    ),
    Rule('tasks.md', r'127\.0\.0\.1:8000', '127.0.0.1:18474'),
]


def shortened(page: str, code: str) -> str:
    """Return a command or a snippet as the tests run it."""
    for rule in RULES:
        if rule.page in (page, ANY):
            code = re.sub(rule.find, rule.replacement, code)
    return code
