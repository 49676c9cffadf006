#!/usr/bin/env python3
"""Train a network: python train.py -d data/cityscapes -cfg configs/D3Net_L.yaml

On several devices: mpirun -n 4 python train.py; every process takes its share of each batch.
"""

import sys

from common.command import Parser, add_options, run
from engine.config.settings import ConfigSettings
from engine.device.settings import DeviceSettings


def build_parser() -> Parser:
    parser = Parser(description=__doc__)
    parser.add_argument(
        '-d',
        '--data-dir',
        metavar='DIR',
        help="the data set's folder (default: the config's, else data/<data set>)",
    )
    parser.add_argument(
        '-p',
        '--pretrained',
        metavar='H5',
        help='weights to start from, of a backbone or a whole network: a file, or the name of a '
        "published one (default: the config's `pretrained`)",
    )
    parser.add_argument(
        '-o', '--output-dir', dest='output', metavar='DIR', help='default: runs/<config name>'
    )
    parser.add_argument(
        '--log-interval',
        type=int,
        default=50,
        metavar='N',
        help='iterations over which the log averages (default: %(default)s)',
    )
    parser.add_argument(
        '-r',
        '--recompute',
        nargs='?',
        const='bn_relu',
        choices=('bn_relu', 'convolution', 'blocks', 'none'),
        help='less memory for more time: compute these again in the backward pass (alone: bn_relu)',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='',
        metavar='PATH',
        help='go on from the state in the output folder, or from another folder or state',
    )
    parser.add_argument(
        '--allow-changes', action='store_true', help='resume although the config has changed'
    )
    parser.add_argument(
        '--seed', type=int, metavar='N', help='of parameters, data order and dropout (default: 0)'
    )
    parser.add_argument(
        '--workers',
        type=int,
        metavar='N',
        help='processes that load data, for each process that trains (default: as many as there '
        'are cores for, up to 4)',
    )
    parser.add_argument(
        '--skip-bad',
        action='store_true',
        help='replace samples that cannot be read by others, instead of ending',
    )
    parser.add_argument(
        '--no-validation', action='store_true', help='train without scores, and without best.h5'
    )
    parser.add_argument(
        '--no-sync-bn',
        action='store_true',
        help='batch statistics of each process alone, not of all',
    )
    parser.add_argument('--tf32', action='store_true', help='faster, coarser float on a GPU')
    parser.add_argument(
        '--channel-last', action='store_true', help='(N, H, W, C) in memory; needs a GPU'
    )
    parser.add_argument(
        '--skip-self-check',
        action='store_true',
        help="train on a GPU without comparing NNabla's functions with the CPU first",
    )
    parser.add_argument(
        '--timeout',
        type=float,
        default=1800,
        metavar='SECONDS',
        help='end a job of several processes when nothing has moved for so long (default: '
        '%(default)s)',
    )
    parser.add_argument(
        '--weights-url', metavar='URL', help='the address to download published weights from'
    )
    add_options(parser, ConfigSettings)
    add_options(parser, DeviceSettings)
    return parser


def main(args) -> int:
    from engine.training import train

    return train.run(args)


if __name__ == '__main__':
    sys.exit(run(build_parser, main))
