"""Print the effective config, with the file or the option that sets each value.

python -m engine.config -cfg configs/D3Net_L.yaml
"""

import sys
from argparse import Namespace

from common.command import DONE, Parser, add_options, run_command, settings
from common.errors import UserError
from engine.config.settings import ConfigSettings


def build_parser() -> Parser:
    """Return the command line's parser."""
    parser = Parser(prog='python -m engine.config', description=__doc__.splitlines()[0])
    add_options(parser, ConfigSettings)
    parser.add_argument(
        '--reference',
        action='store_true',
        help='print every config key with its type, range, default and meaning',
    )
    parser.add_argument(
        '--markdown', action='store_true', help='with --reference: write Markdown, for documents'
    )
    return parser


def main(args: Namespace) -> int:
    """Print the config or the reference; return the exit status."""
    from engine.config import loading, reference

    if args.markdown and not args.reference:
        raise UserError('--markdown belongs to --reference: pass both')
    if args.reference:
        print(reference.as_markdown() if args.markdown else reference.as_text(), end='')
        return DONE
    chosen = settings(ConfigSettings, args)
    print(loading.with_origins(loading.load(chosen.config_file, chosen.overrides)), end='')
    return DONE


if __name__ == '__main__':
    sys.exit(run_command(build_parser, main))
