#!/usr/bin/env python3
"""Segment images and videos: python infer.py -i test.jpg -cfg configs/D3Net_L.yaml"""

import sys

from command import LOG, Parser, UserError, run


def build_parser() -> Parser:
    parser = Parser(description='Segment images, folders of images and videos.')
    parser.add_argument(
        '-i',
        '--test-image-file',
        nargs='+',
        required=True,
        metavar='FILE',
        help='an image, a video, a folder, or a pattern in quotes; several are taken',
    )
    parser.add_argument(
        '-m',
        '--model',
        metavar='H5',
        help='weights: a file, or the name of a published one, which is downloaded when it is not '
        "there (default: the config's)",
    )
    parser.add_argument(
        '-cfg',
        '--config-file',
        default='configs/D3Net_L.yaml',
        metavar='YAML',
        help='the network, its classes and colours (default: %(default)s)',
    )
    parser.add_argument(
        '-c',
        '--context',
        default='auto',
        choices=('auto', 'cpu', 'cudnn'),
        help='auto is cudnn where it works, else cpu (default: %(default)s)',
    )
    parser.add_argument(
        '-t',
        '--type-config',
        default='float',
        choices=('float', 'half'),
        help='precision; half needs a GPU (default: %(default)s)',
    )
    parser.add_argument(
        '-o',
        '--output',
        metavar='PATH',
        help='the picture of one input (default: result.jpg), '
        'the folder of several (default: results)',
    )
    parser.add_argument(
        '--opacity',
        type=float,
        default=0.5,
        help='of the class colours, above 0 and at most 1 (default: %(default)s)',
    )
    parser.add_argument(
        '--legend', action='store_true', help='draw class names and colours beside the picture'
    )
    parser.add_argument(
        '--save-labels', action='store_true', help='write class indices to <picture>_labels.png'
    )
    parser.add_argument(
        '--save-color',
        action='store_true',
        help='write class indices with a colour palette to <picture>_color.png',
    )
    parser.add_argument(
        '--scale',
        type=float,
        default=1.0,
        help='resize images by this for the network; below 1 for large ones (default: %(default)s)',
    )
    parser.add_argument(
        '--set',
        action='append',
        default=[],
        metavar='KEY=VALUE',
        help='override a key of the config',
    )
    parser.add_argument(
        '--partial',
        action='store_true',
        help='load weights that lack parameters or have others, such as a backbone',
    )
    parser.add_argument(
        '--weights-url', metavar='URL', help='the address to download published weights from'
    )
    return parser


def main(args) -> int:
    if not 0 < args.opacity <= 1:
        raise UserError(f'--opacity must be above 0 and at most 1, not {args.opacity:g}')
    if not 0 < args.scale <= 16:
        raise UserError(f'--scale must be above 0 and at most 16, not {args.scale:g}')

    import models
    from engine import config as configs
    from engine import context, inference
    from engine.predictor import Predictor

    plan = inference.plan(args.test_image_file, args.output)
    config = configs.load(args.config_file, args.set)
    weights = args.model or config.get('weights')
    if not weights:
        raise UserError(f'{config.path} names no weights: give some with -m')
    choice = context.use(args.context, args.type_config)
    LOG.info('%s', choice)
    weights = models.weights.find(weights, args.weights_url)
    predictor = Predictor(models.create(config), lambda: context.release_cached_memory(choice))
    report = models.weights.load(weights, strict=not args.partial)
    if report.missing or report.extra:
        LOG.warning(
            '%s: %d parameters loaded, %d of the network are not in it and keep their initial '
            'values, %d of it are unknown to the network',
            weights,
            len(report.loaded),
            len(report.missing),
            len(report.extra),
        )
    options = inference.Options(
        args.opacity, args.legend, args.save_labels, args.save_color, args.scale
    )
    return inference.segment(predictor, configs.class_info(config), plan, options)


if __name__ == '__main__':
    sys.exit(run(build_parser, main))
