"""python -m engine.benchmark KIND: compare ways to compute the same, side by side in one run."""

import sys
from pathlib import Path

from command import Parser, UserError, run


def build_parser() -> Parser:
    parser = Parser(prog='python -m engine.benchmark', description=__doc__)
    parser.add_argument(
        'kind',
        choices=('blocks',),
        help='blocks: D2 blocks with their running sum as one tensor, against the plain form',
    )
    parser.add_argument(
        '-cfg',
        '--config-file',
        default='configs/D3Net_S.yaml',
        metavar='YAML',
        help='the network (default: %(default)s)',
    )
    parser.add_argument(
        '--size', default='128x256', metavar='HxW', help='of the image (default: %(default)s)'
    )
    parser.add_argument(
        '--rounds', type=int, default=10, help='timed runs of each (default: %(default)s)'
    )
    parser.add_argument(
        '-c',
        '--context',
        default='auto',
        choices=('auto', 'cpu', 'cudnn'),
        help='where to run (default: %(default)s)',
    )
    parser.add_argument(
        '--json', type=Path, metavar='FILE', help='write the results to this file too'
    )
    return parser


def main(args) -> int:
    try:
        height, width = map(int, args.size.split('x'))
    except ValueError:
        raise UserError(f'--size {args.size}: write it as HEIGHTxWIDTH, such as 512x1024') from None
    if args.rounds < 1:
        raise UserError(f'--rounds must be at least 1, not {args.rounds}')

    from engine import config, context
    from engine.benchmark import blocks, frame

    choice = context.use(args.context)
    settings = config.load(args.config_file)
    results, facts = blocks.measure(settings, (height, width), args.rounds)
    facts = {
        'config': settings.name,
        'size': args.size,
        'context': str(choice),
        'rounds': args.rounds,
        **facts,
    }
    print(frame.table(results, facts))
    if args.json:
        frame.write_json(args.json, results, facts)
    return 0


if __name__ == '__main__':
    sys.exit(run(build_parser, main))
