"""python -m engine.benchmark.suite: the benchmarks of README.md, whose tables are written anew.

It takes up to ten minutes on two cores that do nothing else.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from command import LOG, PROJECT, Parser, UserError, run

README = PROJECT / 'README.md'
NAMES = ('loader', 'training', 'inference')
LOADED = ('configs/D3Net_S.yaml', 'configs/D3Net_T_camvid.yaml')  # the first that has its data
TRAINED = 'configs/D3Net_T_camvid.yaml'
INFERRED = (  # config, size, rounds, precisions; NNabla alone takes most of the time
    ('configs/D3Net_S.yaml', '512x1024', 3, ('float32', 'bfloat16', 'int8')),
    ('configs/D3Net_L.yaml', '512x1024', 1, ('float32',)),
    ('configs/DDRNet23slim_cityscapes.yaml', '1024x2048', 3, ('float32',)),
)


def build_parser() -> Parser:
    parser = Parser(prog='python -m engine.benchmark.suite', description=__doc__)
    parser.add_argument(
        '--only', nargs='+', default=NAMES, choices=NAMES, help='these tables (default: all)'
    )
    parser.add_argument(
        '-d', '--data-dir', type=Path, metavar='DIR', help='Cityscapes, for the loader'
    )
    parser.add_argument(
        '--peer-python', metavar='PYTHON', help='a Python that has torch (default: this one)'
    )
    parser.add_argument(
        '-o', '--output', type=Path, default=README, metavar='FILE', help='(default: README.md)'
    )
    return parser


def main(args) -> int:
    from engine.benchmark import readme

    runs = {'loader': _loader, 'training': _training, 'inference': _inference}
    chosen, blocks = [name for name in NAMES if name in args.only], {}
    readme.check(args.output, chosen)
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            documents = [
                _run(options, Path(folder) / f'{name}{number}.json')
                for number, options in enumerate(runs[name](args))
            ]
            if documents:
                blocks[name] = readme.markdown(name, documents)
                readme.update(args.output, {name: blocks[name]})
    print(f'{args.output}: {", ".join(blocks) or "nothing"} written')
    return 0


def _loader(args) -> list[list]:
    from engine import config as configs
    from engine.data import open_dataset

    for path in LOADED:
        config = configs.load(PROJECT / path)
        own = args.data_dir.resolve() if args.data_dir and path == LOADED[0] else None
        try:
            open_dataset(config, 'train', own)
        except UserError as error:
            LOG.info('loader, %s: skipped, %s', config.name, error)
            continue
        data = ['-d', own] if own else []
        return [['loader', '-cfg', PROJECT / path, *data, '--rounds', 3]]
    return []


def _training(args) -> list[list]:
    options = ['training', '-cfg', PROJECT / TRAINED, '--size', '256x512', '--rounds', 3]
    return [[*options, '-c', 'cpu', *_peer(args)]]


def _inference(args) -> list[list]:
    return [
        [
            *('inference', '-cfg', PROJECT / path, '--size', size, '--rounds', rounds, '-c', 'cpu'),
            *('--engine', 'nnabla', 'auto', '--precision', *precisions, *_peer(args)),
        ]
        for path, size, rounds, precisions in INFERRED
    ]


def _peer(args) -> list[str]:
    """The options for a peer, where there is one; a Python that was named must have it."""
    from engine.benchmark import peer

    python = args.peer_python or sys.executable
    try:
        peer.check(python)
    except UserError as error:
        if args.peer_python:
            raise
        LOG.info('PyTorch: skipped, %s', error)
        return []
    return ['--peer', 'pytorch', '--peer-python', python]


def _run(options, report: Path) -> dict:
    """What a benchmark has written; its table is shown."""
    command = [sys.executable, '-m', 'engine.benchmark', *map(str, options), '--json', str(report)]
    LOG.info('%s', ' '.join(command[1:-2]))
    process = subprocess.run(command, cwd=PROJECT)
    if process.returncode:
        raise UserError(f'{" ".join(command[1:-2])}: ended with status {process.returncode}')
    return json.loads(report.read_text())


if __name__ == '__main__':
    sys.exit(run(build_parser, main))
