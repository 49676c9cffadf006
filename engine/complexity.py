"""What a network costs: python -m engine.complexity --network ddrnet23_slim --size 512x1024

Prints, for a network and its stages on one image:

GMACs            10^9 multiply-accumulates of all convolutions that run at inference; no biases,
                 batch norms, poolings or resizes
parameters       trainable ones, those of heads that only training needs among them
activations      what all functions put out, in float32; at once: the most that is alive at a time
                 when each output is freed after its last use, in the order in which NNabla runs
                 them. Neither image nor parameters are counted
receptive field  height and width in pixels of the image, on paths past global poolings; + says that
                 these show the whole image, too

Nothing is computed but shapes.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import files
from command import DONE, Parser, UserError, run

SIZE = '512x1024'


def build_parser() -> Parser:
    parser = Parser(prog='python -m engine.complexity', description=__doc__.splitlines()[0])
    parser.add_argument(
        '-cfg',
        '--config-file',
        metavar='YAML',
        help="the network (default: the project's configs/D3Net_L.yaml)",
    )
    parser.add_argument('--network', metavar='NAME', help='a network by name: python -m models')
    parser.add_argument('--num-classes', type=int, metavar='N', help='of --network')
    parser.add_argument(
        '--size', metavar='HxW', help=f'of the image (default: {SIZE}, or the nearest legal size)'
    )
    parser.add_argument(
        '--aux', action='store_true', help='as if the auxiliary heads ran at inference'
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the numbers to this file')
    return parser


def main(args) -> int:
    _check(args)
    import models
    from engine import config
    from models import complexity

    if args.network:
        classes = {} if args.num_classes is None else {'num_classes': args.num_classes}
        network = models.create(args.network, **classes)
    else:
        network = models.create(config.load(args.config_file))
    size = _size(args.size or SIZE)
    if args.size is None:
        size = complexity.nearest_size(network.info, size)
    measured = complexity.measure(network, size, args.aux)
    print(table(measured))
    if args.json:
        with files.replacing(args.json) as temporary:
            temporary.write_text(json.dumps(document(measured), indent=2) + '\n')
    return DONE


def _check(args):
    if args.network and args.config_file:
        raise UserError('give a network with --network or with -cfg, not both')
    if args.num_classes is not None and not args.network:
        raise UserError('--num-classes belongs to --network; a config has its own')


def _size(text: str) -> tuple[int, int]:
    try:
        height, width = map(int, text.split('x'))
    except ValueError:
        raise UserError(f'--size {text}: write it as HEIGHTxWIDTH, such as {SIZE}') from None
    if min(height, width) < 1:
        raise UserError(f'--size {text}: height and width must be at least 1')
    return height, width


def table(measured) -> str:
    """A network and its stages as text."""
    height, width = measured.size
    width_of_name = max(len(stage.name) for stage in (measured, *measured.stages))
    lines = [
        f'{measured.name}, {height}x{width}',
        '',
        f'{"":{width_of_name}}    GMACs   parameters  activations  receptive field',
    ]
    for stage in (*measured.stages, measured):
        memory = f'{mebibytes(stage.activation_bytes):>8} MiB'
        numbers = f'{stage.gmacs:9.3f} {stage.parameters:12,} {memory}  {field(stage)}'
        if not stage.runs:
            numbers = f'{"-":>9} {stage.parameters:12,}  does not run at inference'
        lines.append(f'{stage.name:{width_of_name}} {numbers}')
    lines += ['', f'activations at once: {mebibytes(measured.peak_bytes)} MiB']
    if any(stage.sees_all for stage in measured.stages):
        lines.append('+: and the whole image, through global poolings')
    return '\n'.join(lines)


def field(stage) -> str:
    """A receptive field in words; a ``+`` says that global poolings show the whole image, too."""
    height, width = stage.receptive_field
    return f'{height}x{width}{"+" if stage.sees_all else ""}'


def mebibytes(count: int) -> str:
    return f'{count / 2**20:.0f}'


def document(measured) -> dict:
    """The same for JSON, sizes and fields as [height, width]."""
    values = {**asdict(measured), 'gmacs': measured.gmacs}
    for own, stage in zip(values['stages'], measured.stages):
        own['gmacs'] = stage.gmacs
    return values


if __name__ == '__main__':
    sys.exit(run(build_parser, main))
