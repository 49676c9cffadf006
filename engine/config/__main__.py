"""Print a config as it takes effect: python -m engine.config -cfg configs/D3Net_L.yaml"""

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
    return parser


def main(args) -> int:
    from engine import config

    print(config.with_origins(config.load(args.config_file, args.set)), end='')
    return DONE


if __name__ == '__main__':
    sys.exit(run(build_parser, main))
