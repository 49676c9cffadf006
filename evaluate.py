#!/usr/bin/env python3
"""Score a network on a data set: python evaluate.py -d data/cityscapes -cfg configs/D3Net_L.yaml

Under mpirun, every process takes its share of the images; with --backend nnabla the scores are the
same to the last bit, with the others as good as that.
"""

import sys
from pathlib import Path

from common.command import Parser, run
from engine import options
from engine.inference import test_time


def build_parser() -> Parser:
    parser = Parser(prog='evaluate.py', description=__doc__)
    parser.add_argument(
        '-d',
        '--data-dir',
        metavar='DIR',
        help="the data set's folder (default: the config's, else data/<data set>)",
    )
    parser.add_argument('--split', help="of the data set (default: the config's, else val)")
    parser.add_argument(
        '--list', metavar='FILE', help='a file with an image and a label a line, instead'
    )
    parser.add_argument('--limit', type=int, metavar='N', help='only the first N images')
    parser.add_argument('--boundary', action='store_true', help='boundary IoU too')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the scores to this file')
    parser.add_argument(
        '--visualize',
        type=Path,
        metavar='DIR',
        help='write image, truth, prediction and error map of every image (with --format-only: '
        'image and prediction)',
    )
    parser.add_argument(
        '--save-labels', type=Path, metavar='DIR', help='write predicted class indices'
    )
    parser.add_argument(
        '--format-only',
        type=Path,
        metavar='DIR',
        help='write the files that the test server takes, and no scores; needs no labels',
    )
    options.add_options(parser)
    options.add_backend_options(parser)
    test_time.add_options(parser)
    return parser


def main(args) -> int:
    from engine.evaluation import evaluate

    return evaluate.run(args)


if __name__ == '__main__':
    sys.exit(run(build_parser, main))
