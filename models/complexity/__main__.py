"""Print the cost of a network.

python -m models.complexity --network ddrnet23_slim
python -m models.complexity -cfg configs/DDRNet23slim_cityscapes.yaml
"""

import sys
from argparse import Namespace
from pathlib import Path

import models
from common import files, machine
from common.command import DONE, Parser, add_options, run_command, settings
from common.errors import UserError
from common.writing.protected_files import ProtectedFiles
from engine.config.settings import ConfigSettings
from models import Network, complexity
from models.complexity.table import as_json, as_text

DEFAULT_SIZE = (512, 1024)  # height and width of the image, in pixels


def build_parser() -> Parser:
    """Return the command-line parser."""
    parser = Parser(
        prog='python -m models.complexity',
        description='Prints the cost of a network and of each of its stages for one image: GMACs '
        '(10^9 multiply-accumulates) of the convolutions that run at inference, trainable '
        'parameters, activation memory in float32, receptive field. Only shapes are computed; '
        'docs/complexity.md defines each column.',
    )
    parser.add_argument(
        '--network',
        metavar='NAME',
        help='name listed by python -m models; or the network, classes and size of a config: -cfg',
    )
    add_options(parser, ConfigSettings)
    parser.add_argument(
        '--num-classes',
        type=int,
        metavar='N',
        help="number of classes (default: the config's, or the network's own)",
    )
    parser.add_argument(
        '--size',
        metavar='HxW',
        help='height and width of the image (default: with -cfg, its test_size, else its '
        "trained_size, else that of its crops; with --network, the size nearest to "
        f'{DEFAULT_SIZE[0]}x{DEFAULT_SIZE[1]} that the network accepts)',
    )
    parser.add_argument(
        '--aux',
        action='store_true',
        help='count the auxiliary heads too, as if they ran at inference',
    )
    parser.add_argument(
        '--json', type=Path, metavar='FILE', help='also write the numbers to this file'
    )
    return parser


def main(args: Namespace) -> int:
    """Run the command and return its exit status."""
    protected = ProtectedFiles()
    network, size = _of_name(args) if args.network else _of_config(args, protected)
    if args.size:
        size = _parse_size(args.size)
    if args.json:
        protected.claim_json('--json', args.json)
    measured = complexity.measure_network(network, size, args.aux)
    try:
        if args.json:
            files.write_json(args.json, {**as_json(measured), 'versions': machine.versions()})
    finally:  # a full disk loses no results
        print(as_text(measured))
    return DONE


def _of_name(args: Namespace) -> tuple[Network, tuple[int, int]]:
    """Return the network of ``--network`` and its default size."""
    if args.config_file or args.overrides:
        raise UserError('--network names a network without a config; leave out -cfg and --set')
    network = models.create(args.network, **_classes(args))
    return network, complexity.nearest_size(network.info, DEFAULT_SIZE)


def _of_config(args: Namespace, protected: ProtectedFiles) -> tuple[Network, tuple[int, int]]:
    """Return the network of ``-cfg`` and the config's size; protect the files of the config."""
    from engine.config import loading
    from engine.inference.config_size import config_size

    chosen = settings(ConfigSettings, args)
    if chosen.config_file is None:
        raise UserError('pass --network NAME, or -cfg YAML')
    config = loading.load(chosen.config_file, chosen.overrides)
    protected.add('a config', config.files())
    network = models.create(config, **_classes(args))
    return network, config_size(config, network.info)


def _classes(args: Namespace) -> dict[str, int]:
    """Return the number of classes that overrides the network's, if any."""
    return {} if args.num_classes is None else {'num_classes': args.num_classes}


def _parse_size(text: str) -> tuple[int, int]:
    """Return height and width from ``HEIGHTxWIDTH``."""
    try:
        height, width = map(int, text.split('x'))
    except ValueError:
        raise UserError(f'--size {text}: write it as HEIGHTxWIDTH, such as 512x1024') from None
    if min(height, width) < 1:
        raise UserError(f'--size {text}: height and width must be at least 1')
    return height, width


if __name__ == '__main__':
    sys.exit(run_command(build_parser, main))
