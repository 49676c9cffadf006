"""Serve the page and the HTTP interface (python -m engine.serve)."""

import sys
from argparse import Namespace

from common.command import Parser, add_options, run_command, settings
from engine import serve
from engine.serve import ServeSettings


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(
        prog='python -m engine.serve',
        description='Segment pictures in a web page, and over HTTP for other programs; both stay '
        'on this machine unless --host says otherwise.',
    )
    add_options(parser, ServeSettings)
    return parser


def main(args: Namespace) -> int:
    """Serve until a signal ends it and return the exit status."""
    return serve.serve(settings(ServeSettings, args))


if __name__ == '__main__':
    sys.exit(run_command(build_parser, main))
