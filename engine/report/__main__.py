"""Draw the curves and write the summary of a run, or compare several (python -m engine.report RUN).

The runs do not have to be finished. Of one run, the command draws loss, learning rate and
validation mIoU to report.png, writes report.md, both in the run's folder, and prints report.md. Of
several, it draws the curves to comparison.png, and writes and prints comparison.md: scores, speed
and what differs. Runs that differ in the seed alone are one row.
"""

import sys
from argparse import Namespace
from pathlib import Path

from common.command import DONE, Parser, run_command


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(prog='python -m engine.report', description=__doc__)
    parser.add_argument(
        'runs',
        type=Path,
        nargs='+',
        metavar='RUN',
        help='folder of a run, finished or not; several are compared',
    )
    parser.add_argument(
        '-o',
        '--output',
        type=Path,
        metavar='FILE.png',
        help='picture to write (default: report.png in that folder; of several runs: '
        'comparison.png, with comparison.md beside it)',
    )
    return parser


def main(args: Namespace) -> int:
    """Write and print the report and return the exit status."""
    from engine.report import report_files

    if len(args.runs) == 1:
        page = report_files.write_report(args.runs[0], args.output)
    else:
        page = report_files.write_comparison(args.runs, args.output)
    print(page, end='')
    return DONE


if __name__ == '__main__':
    sys.exit(run_command(build_parser, main))
