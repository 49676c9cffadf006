"""Draw the curves and write the summary of a run (python -m engine.report runs/D3Net_L).

The run does not have to be finished. The command draws loss, learning rate and validation mIoU to
report.png, writes report.md, both in the run's folder, and prints report.md.
"""

import sys
from argparse import Namespace
from pathlib import Path

from common.command import DONE, Parser, run_command


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(prog='python -m engine.report', description=__doc__.splitlines()[0])
    parser.add_argument('run', type=Path, help='folder of a run, finished or not')
    parser.add_argument(
        '-o',
        '--output',
        type=Path,
        metavar='FILE.png',
        help='picture to write (default: report.png in that folder)',
    )
    return parser


def main(args: Namespace) -> int:
    """Write and print the report and return the exit status."""
    from engine.report import report_files

    print(
        report_files.write_report(args.run, args.output or args.run / report_files.PICTURE), end=''
    )
    return DONE


if __name__ == '__main__':
    sys.exit(run_command(build_parser, main))
