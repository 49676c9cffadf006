"""Curves and a summary of a run, finished or not: python -m engine.report runs/D3Net_L

Draws loss, learning rate and validation mIoU to report.png and writes report.md, both in the run's
folder, and prints the latter.
"""

import sys
from argparse import Namespace
from pathlib import Path

from common.command import DONE, Parser, run_command


def build_parser() -> Parser:
    parser = Parser(prog='python -m engine.report', description=__doc__.splitlines()[0])
    parser.add_argument('run', type=Path, help='the folder of a run')
    parser.add_argument(
        '-o',
        '--output',
        type=Path,
        metavar='FILE.png',
        help='the picture (default: report.png in that folder)',
    )
    return parser


def main(args: Namespace) -> int:
    from engine.report import report_files

    print(report_files.write(args.run, args.output or args.run / report_files.PICTURE), end='')
    return DONE


if __name__ == '__main__':
    sys.exit(run_command(build_parser, main))
