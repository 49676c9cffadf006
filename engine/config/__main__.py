"""Print a config as it takes effect: python -m engine.config -cfg configs/D3Net_L.yaml

Each value stands with the file or the option that it comes from.
"""

import sys

from common.command import DONE, Parser, run


def build_parser() -> Parser:
    parser = Parser(prog='python -m engine.config', description=__doc__)
    parser.add_argument(
        '-cfg',
        '--config-file',
        metavar='YAML',
        help="the config (default: the project's configs/D3Net_L.yaml)",
    )
    parser.add_argument(
        '--set',
        action='append',
        default=[],
        metavar='KEY=VALUE',
        help='override a key of the config',
    )
    parser.add_argument(
        '--reference',
        action='store_true',
        help='print every key that a config may have, with type, range, default and meaning',
    )
    return parser


def main(args) -> int:
    from engine import config
    from engine.config import schema

    if args.reference:
        print(schema.reference(), end='')
        return DONE
    print(config.with_origins(config.load(args.config_file, args.set)), end='')
    return DONE


if __name__ == '__main__':
    sys.exit(run(build_parser, main))
