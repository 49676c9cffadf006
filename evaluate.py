#!/usr/bin/env python3
"""Score a network on a data set: python evaluate.py -d data/cityscapes -cfg configs/D3Net_L.yaml

Under mpirun, every process takes its share of the images; with --backend nnabla the scores are the
same to the last bit, with the others as good as that.
"""

import sys
from argparse import Namespace

from common.command import Parser, add_options, run, settings
from engine import evaluation, options
from engine.evaluation import EvaluationSettings


def build_parser() -> Parser:
    parser = Parser(prog='evaluate.py', description=__doc__)
    add_options(parser, EvaluationSettings)
    options.add_removed(parser)
    return parser


def main(args: Namespace) -> int:
    return evaluation.evaluate(settings(EvaluationSettings, args))


if __name__ == '__main__':
    sys.exit(run(build_parser, main))
