#!/usr/bin/env python3
"""Segment images and videos: python infer.py -i test.jpg -cfg configs/D3Net_L.yaml"""

import sys

from command import Parser, UserError, run
from engine import model_options, protocols


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
    model_options.add_options(parser)
    model_options.add_engine_options(parser)
    protocols.add_options(parser)
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
    from engine import inference, planning

    config = configs.load(args.config_file, args.set)
    options = planning.Options(
        opacity=args.opacity,
        legend=args.legend,
        save_labels=args.save_labels,
        save_color=args.save_color,
        protocol=protocols.choose(args, config),
    )
    plan = planning.plan(args.test_image_file, args.output, options)
    network = model_options.load(args, config)
    info = configs.class_info(config)
    return inference.segment(network.predictor, info, plan, options)


if __name__ == '__main__':
    sys.exit(run(build_parser, main))
