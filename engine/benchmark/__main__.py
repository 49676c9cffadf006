"""python -m engine.benchmark KIND: compare ways to compute the same, side by side in one run."""

import sys
from pathlib import Path

from command import Parser, UserError, run
from engine import model_options

# The options of each kind that not all kinds have, and what they are when they are not given.
OPTIONS = {
    'blocks': {'size': '128x256', 'context': 'auto', 'rounds': 10},
    'loader': {'data_dir': None, 'batch_size': 4, 'batches': 8, 'rounds': 10},
    'training': {'size': '256x512', 'batch_size': 2, 'context': 'auto', 'rounds': 5},
}


def build_parser() -> Parser:
    parser = Parser(prog='python -m engine.benchmark', description=__doc__)
    parser.add_argument(
        'kind',
        choices=tuple(OPTIONS),
        help='blocks: D2 blocks with their running sum as one tensor, against the plain form; '
        "loader: the loader and packed data, against NNabla's iterator and the usual pipeline; "
        'training: a step of training and its memory under each recompute policy, on a GPU also in '
        'half precision, channel_last and TF32',
    )
    parser.add_argument(
        '-cfg',
        '--config-file',
        default='configs/D3Net_S.yaml',
        metavar='YAML',
        help='the network (default: %(default)s)',
    )
    _add(parser, 'data_dir', '-d', '--data-dir', type=Path, metavar='DIR', help='the data')
    _add(parser, 'size', '--size', metavar='HxW', help='of the image')
    _add(parser, 'batch_size', '--batch-size', type=int, metavar='N', help='images a batch')
    _add(parser, 'batches', '--batches', type=int, metavar='N', help='batches a run')
    _add(parser, 'rounds', '--rounds', type=int, metavar='N', help='timed runs of each')
    _add(parser, 'context', '-c', '--context', choices=model_options.CONTEXTS, help='where to run')
    parser.add_argument(
        '--json', type=Path, metavar='FILE', help='write the results to this file too'
    )
    return parser


def main(args) -> int:
    _complete(args)
    for option in ('rounds', 'batch_size', 'batches'):
        if getattr(args, option) is not None and getattr(args, option) < 1:
            raise UserError(f'{_flag(option)} must be at least 1, not {getattr(args, option)}')

    from engine import config
    from engine.benchmark import frame

    settings = config.load(args.config_file)
    measure = {'blocks': _blocks, 'loader': _loader, 'training': _training}[args.kind]
    results, facts = measure(args, settings)
    facts = {'config': settings.name, 'rounds': args.rounds, **facts}
    print(frame.table(results, facts))
    if args.json:
        frame.write_json(args.json, results, facts)
    return 0


def _add(parser: Parser, option: str, *flags, help: str, **keywords):
    """An option of some kinds; its help says of which, and with which defaults."""
    defaults = ', '.join(
        f'{kind}: {OPTIONS[kind][option] or "as the config says"}' for kind in _kinds_with(option)
    )
    parser.add_argument(*flags, help=f'{help} ({defaults})', **keywords)


def _kinds_with(option: str) -> list[str]:
    return [kind for kind, options in OPTIONS.items() if option in options]


def _flag(option: str) -> str:
    return f'--{option.replace("_", "-")}'


def _complete(args):
    """Give the options of this kind their defaults; refuse those of others."""
    for option in {option: None for options in OPTIONS.values() for option in options}:
        if option not in OPTIONS[args.kind] and getattr(args, option) is not None:
            raise UserError(
                f'{_flag(option)} is an option of {" and ".join(_kinds_with(option))}, {args.kind} '
                'has no use for it'
            )
        if getattr(args, option) is None:
            setattr(args, option, OPTIONS[args.kind].get(option))


def _size(args) -> tuple[int, int]:
    try:
        height, width = map(int, args.size.split('x'))
    except ValueError:
        raise UserError(f'--size {args.size}: write it as HEIGHTxWIDTH, such as 512x1024') from None
    return height, width


def _blocks(args, settings):
    size = _size(args)

    from engine import context
    from engine.benchmark import blocks

    choice = context.use(args.context)
    results, facts = blocks.measure(settings, size, args.rounds)
    return results, {'size': args.size, 'context': str(choice), **facts}


def _loader(args, settings):
    from engine.benchmark import loader
    from engine.data import open_dataset

    dataset = open_dataset(settings, 'train', args.data_dir)
    return loader.measure(settings, dataset, args.batch_size, args.batches, args.rounds)


def _training(args, settings):
    size = _size(args)

    from engine import context
    from engine.benchmark import training

    choice = context.use(args.context)
    results, facts = training.measure(settings, choice, size, args.batch_size, args.rounds)
    return results, {'context': str(choice), **facts}


if __name__ == '__main__':
    sys.exit(run(build_parser, main))
