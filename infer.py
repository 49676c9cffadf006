#!/usr/bin/env python3
"""Segment images and videos: python infer.py -i test.jpg -cfg configs/D3Net_L.yaml"""

import sys
from argparse import Namespace

from common.command import Parser, add_options, run, settings
from engine import inference, options
from engine.inference import SegmentSettings


def build_parser() -> Parser:
    parser = Parser(prog='infer.py', description='Segment images, folders of images and videos.')
    add_options(parser, SegmentSettings)
    options.add_removed(parser)
    return parser


def main(args: Namespace) -> int:
    return inference.segment(settings(SegmentSettings, args))


if __name__ == '__main__':
    sys.exit(run(build_parser, main))
