"""Curves and a summary of a run, finished or not: python -m engine.report runs/D3Net_L

Draws loss, learning rate and validation mIoU to report.png and writes report.md, both in the run's
folder, and prints the latter.
"""

import sys
from pathlib import Path

from common import files
from common.command import DONE, Parser, run

SUMMARY, PICTURE = 'report.md', 'report.png'


def build_parser() -> Parser:
    parser = Parser(prog='python -m engine.report', description=__doc__.splitlines()[0])
    parser.add_argument('run', type=Path, help='the folder of a run')
    parser.add_argument(
        '-o',
        '--output',
        type=Path,
        metavar='FILE.png',
        help=f'the picture (default: {PICTURE} in that folder)',
    )
    return parser


def main(args) -> int:
    from engine.report import curves, summary

    record = summary.read(args.run)
    picture = args.output or args.run / PICTURE
    text = summary.page(record, picture)
    title = f'{record.name}, iteration {record.iteration} of {record.total or summary.UNKNOWN}'
    curves.draw(picture, title, record.losses, record.rates, record.scores)
    with files.replacing(args.run / SUMMARY) as temporary:
        temporary.write_text(text, encoding='utf-8')
    print(text, end='')
    return DONE


if __name__ == '__main__':
    sys.exit(run(build_parser, main))
