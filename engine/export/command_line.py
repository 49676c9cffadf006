"""The command line of ``python -m engine.export``."""

import re
from pathlib import Path

from common.command import DONE, Parser
from common.errors import UserError
from common.log import LOG

SIZES = {
    'vga': (480, 640),
    'hd': (720, 1280),
    'fullhd': (1080, 1920),
    'cityscapes': (1024, 2048),
    'camvid': (720, 960),
}
CONFIG_SIZES = {  # name -> the keys of the config
    'test': ('test_size',),
    'training': ('image_height', 'image_width'),
}


def build_parser() -> Parser:
    parser = Parser(
        prog='python -m engine.export',
        description='Writes a network with its weights as ONNX (opset 13), NNP or NNB, and checks '
        'the file against NNabla on a photo.',
    )
    parser.add_argument(
        '-o',
        '--output-file',
        required=True,
        type=Path,
        metavar='FILE',
        help='its ending, .onnx, .nnp or .nnb, says what is written',
    )
    parser.add_argument(
        '-cfg',
        '--config-file',
        metavar='YAML',
        help="the network (default: the project's configs/D3Net_L.yaml)",
    )
    parser.add_argument(
        '-m',
        '--model',
        metavar='H5',
        help='weights: a file, or the name of a published one, which is downloaded when it is not '
        "there (default: the config's)",
    )
    parser.add_argument(
        '--partial', action='store_true', help='load weights that lack parameters or have others'
    )
    parser.add_argument(
        '--weights-url', metavar='URL', help='the address to download published weights from'
    )
    parser.add_argument(
        '--set',
        action='append',
        default=[],
        metavar='KEY=VALUE',
        help='override a key of the config',
    )
    _add_form(parser)
    return parser


def _add_form(parser: Parser):
    group = parser.add_argument_group('what goes in and what comes out')
    group.add_argument(
        '--size',
        metavar='HxW',
        help='of the image, such as 512x1024, or a name: test or training (of the config), '
        f'{", ".join(SIZES)}, brought to the nearest that the network takes (default: test, else '
        'training)',
    )
    number = group.add_mutually_exclusive_group()
    number.add_argument(
        '--batch-size', type=int, default=1, metavar='N', help='images (default: %(default)s)'
    )
    number.add_argument(
        '--dynamic-batch', action='store_true', help='any number of images; ONNX only'
    )
    group.add_argument(
        '--output',
        default='logits',
        choices=('logits', 'probabilities', 'labels', 'maps'),
        help="logits: class scores before the softmax, the network's maps resized bilinearly to "
        'the size of the image; probabilities: their softmax; labels: the class of the largest; '
        "maps: the logits at the network's own resolution (default: %(default)s)",
    )
    group.add_argument(
        '--normalise',
        nargs='?',
        const='',
        choices=('', 'uint8', 'float32'),
        metavar='TYPE',
        help="the file normalises: its input is (N, 3, H, W) in the network's channel order, 0 to "
        '255, uint8 (the default for ONNX) or float32; without this option it is (x - mean) / std, '
        'float32',
    )


def main(args) -> int:
    from engine.export.exporter import export
    from engine.export.spec import NORMALISED, ExportSpec, check_size

    path = args.output_file
    pixels = NORMALISED if args.normalise is None else args.normalise
    if pixels == '':
        pixels = 'uint8' if path.suffix.lower() == '.onnx' else 'float32'
    form = ExportSpec(args.output, pixels, None if args.dynamic_batch else args.batch_size)
    form.check(path)

    import models
    from common import files
    from engine import config as configs
    from engine import options

    config = configs.load(args.config_file, args.set)
    network = models.create(config)
    size = choose_size(args.size, config, network)
    check_size(network, size)
    files.check_writable(path)
    args.context, args.type_config = 'cpu', 'float'  # what a file is held against
    loaded = options.load(args, config)
    info = configs.class_info(config)
    metadata = {
        'classes': list(info.classes),
        'palette': [list(map(int, colour)) for colour in info.palette],
        'config_name': config.name,
        'config': {key: config[key] for key in config if key not in configs.PATHS},
        'weights': loaded.weights.name,
        'weights_sha256': files.sha256_of(loaded.weights),
    }
    report = export(loaded.predictor.network, size, path, form, metadata=metadata)
    height, width = size
    print(
        f'{path} written ({path.stat().st_size / 1e6:.1f} MB, {form.kind} of {height}x{width}): '
        f'{report}'
    )
    return DONE


def choose_size(text: str | None, config, network) -> tuple[int, int]:
    """The height and width that ``--size`` means; a name means the nearest that the network takes.

    Raises ``UserError``.
    """
    from models import complexity

    written = re.fullmatch(r'([1-9]\d{0,5})x([1-9]\d{0,5})', text or '')
    if written:
        return tuple(map(int, written.groups()))
    in_config = {
        name: tuple(part for key in keys for part in _list(config[key]))
        for name, keys in CONFIG_SIZES.items()
        if all(key in config for key in keys)
    }
    known = SIZES | in_config
    name = text if text is not None else next(iter(in_config), None)
    if name is None:
        raise UserError(f'{config.path} names no size: give one with --size, such as 512x1024')
    if name not in known:
        raise UserError(f'--size {text}: write HxW, such as 512x1024, or {", ".join(known)}')
    size = complexity.nearest_size(network.info, known[name])
    if size != known[name]:
        LOG.info('%dx%d, the nearest to %s that %s takes', *size, name, network.name)
    return size


def _list(value) -> list[int]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
