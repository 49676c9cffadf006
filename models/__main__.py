"""The networks of this project: python -m models"""

import sys
from argparse import Namespace

import models
from common.command import DONE, Parser, run_command
from common.errors import UserError
from common.tables import Column, fitted, line
from models import complexity, weights

SIZE = (512, 1024)
COLUMNS = (
    Column('classes', right=True),
    Column('parameters', 11, right=True, before=' '),
    Column('GMACs', 9, right=True, before=' '),
    Column('at', 9),
    Column('multiple of', right=True),
    Column('least', 6, right=True, before=' '),
    Column('paper'),
)


def build_parser() -> Parser:
    parser = Parser(
        prog='python -m models',
        description='Lists the networks: classes, trainable parameters, GMACs of the convolutions '
        f'at {SIZE[0]}x{SIZE[1]} or the nearest size that the network takes, and what height and '
        'width of an image must be.',
    )
    parser.add_argument('networks', nargs='*', metavar='NETWORK', help='these (default: all)')
    parser.add_argument('--family', metavar='NAME', help='one family of them')
    parser.add_argument('--names', action='store_true', help='names only')
    parser.add_argument(
        '--weights',
        action='store_true',
        help='published files of weights only: networks, what they were trained for, and the '
        'address that they are downloaded from or, where a browser is needed, the page',
    )
    return parser


def main(args: Namespace) -> int:
    names = _chosen(args)
    if args.names and args.weights:
        raise UserError('--names or --weights, not both')
    if args.names:
        print('\n'.join(names))
        return DONE
    if args.weights:
        print(*_published(names), sep='\n')
        return DONE
    columns = fitted([Column(width=max(map(len, names))), *COLUMNS], [])
    print(line(columns, [column.title for column in columns]))
    for name in names:  # each at once: to count takes seconds
        print(line(columns, [name, *describe(name)]), flush=True)
    return DONE


def describe(name: str) -> list[str]:
    """Return a network's cells below :data:`COLUMNS`, or one that reaches over all."""
    try:
        network = models.create(name)
    except models.HyperParameterError:
        return ['any other member of the family: its hyper-parameters must be given']
    info = network.info
    size = complexity.nearest_size(info, SIZE)
    work, parameters = complexity.count(network, size)
    least = complexity.nearest_size(info, (1, 1))[0]
    return [
        str(info.num_classes),
        f'{parameters:,}',
        f'{work / 1e9:.2f}',
        f'{size[0]}x{size[1]}',
        str(info.size_divisor),
        str(least),
        info.paper,
    ]


def _published(names: list[str]) -> list[str]:
    """Return a line for each published file that is for one of the networks."""
    lines = []
    for published in weights.published.files():
        networks = [name for name in weights.published.networks_of(published) if name in names]
        if networks:
            more = f' and {len(networks) - 1} more' if networks[1:] else ''
            source = published.mirrors[0] if published.mirrors else published.page
            obstacle = f'; {published.obstacle}' if published.obstacle else ''
            lines.append(
                f'{published.file}: {networks[0]}{more}; {published.task}; {source}{obstacle}'
            )
    return lines


def _chosen(args: Namespace) -> list[str]:
    families = {family.name: family for family in models.FAMILIES}
    if args.family is not None and args.family not in families:
        raise UserError(
            f'no family is called {args.family!r}; there are {", ".join(sorted(families))}'
        )
    if args.family and args.networks:
        raise UserError('name networks or a --family, not both')
    for name in args.networks:
        models.family_of(name)
    return args.networks or list(families[args.family].variants if args.family else models.names())


if __name__ == '__main__':
    sys.exit(run_command(build_parser, main))
