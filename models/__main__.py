"""List the networks of this project: python -m models."""

import glob
import sys
from argparse import Namespace

import models
from common.command import DONE, Parser, run_command
from common.errors import UserError
from common.terminal import streams
from common.terminal.name_list import first_names
from common.terminal.short_repr import short_repr
from common.terminal.tables import Column, fitted, line, markdown
from models import complexity, weights

DEFAULT_SIZE = (512, 1024)  # height and width of the image, in pixels
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
    """Return the command-line parser."""
    parser = Parser(
        prog='python -m models',
        description='Lists the networks: number of classes, trainable parameters, GMACs of the '
        f'convolutions at {DEFAULT_SIZE[0]}x{DEFAULT_SIZE[1]} or the nearest size that the network '
        'accepts, and the legal heights and widths of an image.',
    )
    parser.add_argument(
        'networks',
        nargs='*',
        metavar='NETWORK',
        help="networks to list, or patterns of names in quotes, such as 'csail_*' (default: all)",
    )
    parser.add_argument('--family', metavar='NAME', help='list the networks of one family')
    parser.add_argument('--names', action='store_true', help='list names only')
    parser.add_argument(
        '--weights',
        action='store_true',
        help='list the published weights instead: networks, training data, and the download '
        'address or, where a download needs a browser, the page',
    )
    parser.add_argument(
        '--table',
        action='store_true',
        help='list the configs of these networks instead: data set, size, cost, published mIoU '
        'with its source, where weights are, whether they are here, and the command that gets, '
        'converts or trains them',
    )
    parser.add_argument(
        '--markdown',
        action='store_true',
        help='write Markdown, for documents: the networks, or with --table their configs',
    )
    return parser


def main(args: Namespace) -> int:
    """Run the command and return its exit status."""
    names = _selected_names(args)
    lists = [option for option in ('names', 'weights', 'table') if getattr(args, option)]
    if len(lists) > 1:
        raise UserError(f'pass --{lists[0]} or --{lists[1]}, not both')
    if args.markdown and (args.names or args.weights):
        raise UserError(f'--{lists[0]} has no Markdown; leave out --markdown')
    if args.names:
        print('\n'.join(names))
        return DONE
    if args.weights:
        print(*_published_lines(names), sep='\n')
        return DONE
    if args.table:
        print(*_table_lines(names, args.markdown), sep='\n')
        return DONE
    if args.markdown:
        print(*markdown([Column('network'), *COLUMNS], map(_markdown_row, names)), sep='\n')
        return DONE
    columns = fitted([Column(width=max(map(len, names))), *COLUMNS], [])
    print(line(columns, [column.title for column in columns]))
    for name in names:  # print each row at once: counting all networks takes seconds
        print(line(columns, [name, *_cells(name)]), flush=True)
        if streams.output_is_lost():
            break
    return DONE


def _cells(name: str) -> list[str]:
    """Return a network's cells for :data:`COLUMNS`, or a single cell that spans all columns."""
    try:
        network = models.create(name)
    except models.HyperParameterError:
        return ['any other network of the family: all hyper-parameters are required']
    info = network.info
    size = complexity.nearest_size(info, DEFAULT_SIZE)
    macs, parameters = complexity.count_macs_and_parameters(network, size)
    smallest = complexity.nearest_size(info, (1, 1))[0]
    return [
        str(info.num_classes),
        f'{parameters:,}',
        f'{macs / 1e9:.2f}',
        f'{size[0]}x{size[1]}',
        str(info.size_divisor),
        str(smallest),
        info.paper,
    ]


def _markdown_row(name: str) -> list[str]:
    """Return a network's row; a cell that spans all columns becomes the last."""
    cells = _cells(name)
    return [f'`{name}`', *[''] * (len(COLUMNS) - len(cells)), *cells]


def _published_lines(names: list[str]) -> list[str]:
    """Return one line for each published file that fits one of the networks."""
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


def _table_lines(names: list[str], markdown: bool) -> list[str]:
    """Return the table of the configs of networks."""
    from engine.zoo import entries, table

    found = list(entries.collect_entries(names))
    if not found:
        raise UserError(
            f'no config has the network {first_names(names)}; python -m models --table lists all '
            'that have one'
        )
    return table.as_markdown(found) if markdown else table.as_text(found)


def _selected_names(args: Namespace) -> list[str]:
    """Return the names of the networks that the options select."""
    families = {family.name: family for family in models.FAMILIES}
    if args.family is not None and args.family not in families:
        raise UserError(
            f'no family is called {args.family!r}; the families are {", ".join(sorted(families))}'
        )
    if args.family and args.networks:
        raise UserError('pass names of networks or --family, not both')
    if args.family:
        return list(families[args.family].variants)
    if not args.networks:
        return models.names()
    return list(dict.fromkeys(name for each in args.networks for name in _names_of(each)))


def _names_of(pattern: str) -> list[str]:
    """Return the names that match a pattern, or raise ``ModelError``."""
    names = models.names(pattern)
    if not names and glob.has_magic(pattern):
        raise models.ModelError(
            f'no network matches {short_repr(pattern)}; python -m models --names lists all'
        )
    if not names:
        models.family_of(pattern)  # its error has the nearest names
    return names


if __name__ == '__main__':
    sys.exit(run_command(build_parser, main))
