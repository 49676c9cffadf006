#!/usr/bin/env python3
"""Segment images and videos: python infer.py -i test.jpg -cfg configs/D3Net_L.yaml"""

import sys

from common.command import Parser, run
from common.errors import UserError
from engine import options
from engine.inference import test_time


def build_parser() -> Parser:
    parser = Parser(prog='infer.py', description='Segment images, folders of images and videos.')
    parser.add_argument(
        '-i',
        '--test-image-file',
        nargs='+',
        required=True,
        metavar='FILE',
        help='an image, a video, a folder, or a pattern in quotes; several are taken',
    )
    parser.add_argument(
        '-o',
        '--output',
        metavar='PATH',
        help='the picture of one input (default: result.jpg), '
        'the folder of several (default: results)',
    )
    _add_looks(parser)
    options.add_options(parser)
    options.add_backend_options(parser)
    test_time.add_options(parser)
    return parser


def _add_looks(parser: Parser):
    group = parser.add_argument_group('how results look, and what is written beside them')
    group.add_argument(
        '--opacity',
        type=float,
        default=0.5,
        help='of the class colours, above 0 and at most 1 (default: %(default)s)',
    )
    group.add_argument(
        '--legend', action='store_true', help='draw class names and colours beside the picture'
    )
    group.add_argument(
        '--save-labels', action='store_true', help='write class indices to <picture>_labels.png'
    )
    group.add_argument(
        '--save-color',
        action='store_true',
        help='write class indices with a colour palette to <picture>_color.png',
    )


def main(args) -> int:
    if not 0 < args.opacity <= 1:
        raise UserError(f'--opacity must be above 0 and at most 1, not {args.opacity:g}')

    from engine import config as configs
    from engine.inference import planning, segment

    config = configs.load(args.config_file, args.set)
    settings = planning.Options(
        opacity=args.opacity,
        legend=args.legend,
        save_labels=args.save_labels,
        save_color=args.save_color,
        protocol=test_time.choose(args, config),
    )
    plan = planning.plan(args.test_image_file, args.output, settings)
    network = options.load(args, config)
    info = configs.class_info(config)
    return segment.segment(network.predictor, info, plan, settings)


if __name__ == '__main__':
    sys.exit(run(build_parser, main))
