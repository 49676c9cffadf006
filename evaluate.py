#!/usr/bin/env python3
"""Score a network on a data set.

Example: `python evaluate.py -d data/cityscapes -cfg configs/D3Net_L.yaml`.

Under mpirun each process evaluates its share of the images. The scores do not depend on the number
of processes: to the last bit with --backend nnabla, up to rounding errors with other backends.
"""

import sys
from argparse import Namespace

from common.command import Parser, add_options, run_command, settings
from engine import evaluation, options
from engine.evaluation import EvaluationSettings


def build_parser() -> Parser:
    """Return the parser of evaluate.py."""
    parser = Parser(prog='evaluate.py', description=__doc__)
    add_options(parser, EvaluationSettings)
    options.add_removed_options(parser)
    return parser


def main(args: Namespace) -> int:
    """Evaluate with the parsed options and return the exit status."""
    return evaluation.evaluate(settings(EvaluationSettings, args))


if __name__ == '__main__':
    sys.exit(run_command(build_parser, main))
