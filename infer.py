#!/usr/bin/env python3
"""Segment images, videos and streams.

Example: `python infer.py -i test.jpg -cfg configs/D3Net_L.yaml`.
"""

import sys
from argparse import Namespace

from common.command import Parser, add_options, run_command, settings
from engine import inference, options
from engine.inference import SegmentSettings


def build_parser() -> Parser:
    """Return the parser of infer.py."""
    parser = Parser(
        prog='infer.py', description='Segment images, folders of images, videos and streams.'
    )
    add_options(parser, SegmentSettings)
    options.add_removed_options(parser)
    return parser


def main(args: Namespace) -> int:
    """Segment with the parsed options and return the exit status."""
    return inference.segment(settings(SegmentSettings, args))


if __name__ == '__main__':
    sys.exit(run_command(build_parser, main))
