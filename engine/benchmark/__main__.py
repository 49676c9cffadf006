"""python -m engine.benchmark KIND: compare ways to compute the same, side by side in one run."""

import sys
from pathlib import Path

from command import Parser, UserError, run
from engine import model_options

# The options that only one kind has, and what they are when they are not given.
OPTIONS = {
    'blocks': {'size': '128x256', 'context': 'auto'},
    'loader': {'data_dir': None, 'batch_size': 4, 'batches': 8},
}


def build_parser() -> Parser:
    parser = Parser(prog='python -m engine.benchmark', description=__doc__)
    parser.add_argument(
        'kind',
        choices=('blocks', 'loader'),
        help='blocks: D2 blocks with their running sum as one tensor, against the plain form; '
        "loader: the loader and packed data, against NNabla's iterator and the usual pipeline",
    )
    parser.add_argument(
        '-d', '--data-dir', type=Path, metavar='DIR', help="loader: the root of the config's data"
    )
    parser.add_argument(
        '--batch-size', type=int, metavar='N', help='loader: images a batch (default: 4)'
    )
    parser.add_argument(
        '--batches', type=int, metavar='N', help='loader: batches a run (default: 8)'
    )
    parser.add_argument(
        '-cfg',
        '--config-file',
        default='configs/D3Net_S.yaml',
        metavar='YAML',
        help='the network (default: %(default)s)',
    )
    parser.add_argument('--size', metavar='HxW', help='blocks: of the image (default: 128x256)')
    parser.add_argument(
        '--rounds', type=int, default=10, help='timed runs of each (default: %(default)s)'
    )
    parser.add_argument(
        '-c',
        '--context',
        choices=model_options.CONTEXTS,
        help='blocks: where to run (default: auto)',
    )
    parser.add_argument(
        '--json', type=Path, metavar='FILE', help='write the results to this file too'
    )
    return parser


def main(args) -> int:
    _complete(args)
    for option in ('rounds', 'batch_size', 'batches'):
        if getattr(args, option) is not None and getattr(args, option) < 1:
            name = option.replace('_', '-')
            raise UserError(f'--{name} must be at least 1, not {getattr(args, option)}')

    from engine import config
    from engine.benchmark import frame

    settings = config.load(args.config_file)
    results, facts = {'blocks': _blocks, 'loader': _loader}[args.kind](args, settings)
    facts = {'config': settings.name, 'rounds': args.rounds, **facts}
    print(frame.table(results, facts))
    if args.json:
        frame.write_json(args.json, results, facts)
    return 0


def _complete(args):
    """Give the options of this kind their defaults; refuse those of another."""
    for kind, defaults in OPTIONS.items():
        for option, default in defaults.items():
            if kind == args.kind and getattr(args, option) is None:
                setattr(args, option, default)
            elif kind != args.kind and getattr(args, option) is not None:
                name = option.replace('_', '-')
                raise UserError(f'--{name} is an option of {kind}, {args.kind} has no use for it')


def _blocks(args, settings):
    try:
        height, width = map(int, args.size.split('x'))
    except ValueError:
        raise UserError(f'--size {args.size}: write it as HEIGHTxWIDTH, such as 512x1024') from None

    from engine import context
    from engine.benchmark import blocks

    choice = context.use(args.context)
    results, facts = blocks.measure(settings, (height, width), args.rounds)
    return results, {'size': args.size, 'context': str(choice), **facts}


def _loader(args, settings):
    from engine.benchmark import loader
    from engine.data import open_dataset

    dataset = open_dataset(settings, 'train', args.data_dir)
    return loader.measure(settings, dataset, args.batch_size, args.batches, args.rounds)


if __name__ == '__main__':
    sys.exit(run(build_parser, main))
