#!/usr/bin/env python3
"""Train a network.

Example: `python train.py -d data/cityscapes -cfg configs/D3Net_L.yaml`.

With `mpirun -n 4 python train.py ...` four processes train one network together, each on its own
device and with the batch size of the config.
"""

import argparse
import sys

from common.command import Parser, add_options, run_command, settings
from engine.training import TrainingSettings


def build_parser() -> Parser:
    """Return the parser of train.py."""
    parser = Parser(description=__doc__)
    add_options(parser, TrainingSettings)
    return parser


def main(args: argparse.Namespace) -> int:
    """Train with the parsed options and return the exit status."""
    from engine import training

    return training.train(settings(TrainingSettings, args))


if __name__ == '__main__':
    sys.exit(run_command(build_parser, main))
