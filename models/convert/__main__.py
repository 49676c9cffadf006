"""Convert checkpoints of PyTorch to NNabla's weights, and back; PyTorch is not needed.

python -m models.convert --network NAME -i CHECKPOINT [-i SECOND] -o OUT.h5
python -m models.convert --network NAME -i WEIGHTS.h5 --to-pytorch OUT.npz
"""

import sys
from argparse import Namespace
from pathlib import Path

import nnabla as nn
import numpy as np
from numpy.typing import NDArray

from common import files
from common.command import Parser, run_command
from common.errors import UserError
from models import convert, input_statistics, registry, weights
from models.convert import checkpoints, recognition, renaming, reporting
from models.convert.tensors import Tensor
from models.errors import ModelError
from models.family import Statistics
from models.weights import published


def build_parser() -> Parser:
    parser = Parser(prog='python -m models.convert', description=__doc__.splitlines()[0])
    parser.add_argument('--network', required=True, metavar='NAME', help='what the arrays are of')
    parser.add_argument(
        '-i',
        '--input',
        required=True,
        action='append',
        metavar='FILE',
        help='a checkpoint (torch.save, .safetensors, .npz) or the name of a published one; '
        'several, when encoder and decoder are apart',
    )
    parser.add_argument('-o', '--output', type=Path, metavar='FILE', help='the .h5 file to write')
    parser.add_argument(
        '--to-pytorch',
        type=Path,
        metavar='FILE',
        help='the other way: write the .h5 file given with -i as .npz or .safetensors',
    )
    parser.add_argument(
        '--input-statistics',
        choices=registry.STATISTICS,
        help='of the images that it was trained on, which the .h5 file keeps: imagenet, RGB with '
        "ImageNet's mean and deviation; csail_bgr, BGR less a mean, of CSAIL's baseline-* files "
        "(default: by the name of a published file, else the network's)",
    )
    parser.add_argument('--num-classes', type=int, metavar='N', help="default: the network's")
    parser.add_argument(
        '--partial',
        action='store_true',
        help='convert what fits, and leave out what only one side has or is for other classes',
    )
    parser.add_argument(
        '--check',
        action='store_true',
        help='segment a street photo and tell the ranges of the logits, before anything is written',
    )
    parser.add_argument('--verbose', action='store_true', help='list every array')
    return parser


def main(args: Namespace) -> int:
    if bool(args.output) == bool(args.to_pytorch):
        raise UserError('say with -o which .h5 file to write, or with --to-pytorch which other')
    if args.to_pytorch and (args.check or len(args.input) > 1):
        raise UserError('--to-pytorch takes one file of weights, and no --check')
    if args.to_pytorch and args.input_statistics:
        raise UserError('--input-statistics is for .h5 files, which --to-pytorch does not write')

    target = args.output or args.to_pytorch
    if target.suffix not in (('.h5',) if args.output else checkpoints.WRITABLE):
        endings = '.h5' if args.output else ' or '.join(checkpoints.WRITABLE)
        raise UserError(f'{target}: the name of what is written must end in {endings}')
    convert.check_convertible(args.network)
    overrides = {} if args.num_classes is None else dict(num_classes=args.num_classes)
    network = registry.create(args.network, **overrides)
    if not args.to_pytorch:
        network = input_statistics.applied(network, _statistics(args, network))
    files.check_writable(target)
    return to_pytorch(args, network) if args.to_pytorch else from_pytorch(args, network)


def from_pytorch(args: Namespace, network: registry.Network) -> int:
    """Convert checkpoints; nothing is written unless all is well."""
    paths = [weights.find(name) for name in args.input]
    states = [_state_of(path) for path in paths]
    shapes = [renaming.parameters(state) for state in states]
    found = renaming.fit(shapes, renaming.network_shapes(args.network, args.num_classes))
    encoder = not found.is_whole and renaming.is_encoder_of(args.network, found)
    if not (
        found.is_whole or encoder or args.partial and recognition.is_part(network, shapes, found)
    ):
        reason = recognition.explain(network, shapes, found)
        raise UserError(f'{" and ".join(map(str, paths))}: {reason}')
    if args.check and (found.missing or found.misshapen):
        raise UserError('--check needs a whole network, and the files hold a part of one')

    arrays: dict[str, NDArray[np.float32]] = {}
    for number, path in enumerate(paths):
        taken = {n: states[number][k] for n, (i, k) in found.sources.items() if i == number}
        arrays |= checkpoints.arrays(taken, path)
    print(*reporting.table(found, arrays, paths, args.verbose), sep='\n')
    if ignored := sum(map(len, states)) - sum(map(len, shapes)):
        print(f'ignored, counters of batch norms and arrays of a loss ({ignored})')
    if encoder:
        print('The encoder alone, as for the start of a training: --partial is implied.')
        if advice := recognition.advice(args.network, shapes):
            print(advice)
    with nn.parameter_scope('', {}):
        renaming.register(network)
        strict = not (found.missing or found.misshapen)
        report = weights.load(convert.from_pytorch(args.network, arrays), strict=strict)
        if args.check:
            print(*reporting.trial(network), sep='\n')
        for name in report.missing:
            nn.parameter.pop_parameter(name)
        weights.save(args.output, network.info)
    statistics = input_statistics.described(input_statistics.of_info(network.info))
    print(f'{args.output}: {len(report.loaded)} arrays of {args.network}, for {statistics}')
    return 0


def to_pytorch(args: Namespace, network: registry.Network) -> int:
    """Convert NNabla's weights, whole or with ``--partial`` in part."""
    arrays = weights.read(weights.find(args.input[0]))
    with nn.parameter_scope('', {}):
        renaming.register(network)
        loaded = weights.load(arrays, strict=not args.partial).loaded
    state = convert.to_pytorch(args.network, {name: arrays[name] for name in loaded})
    checkpoints.write(args.to_pytorch, state)
    print(f'{args.to_pytorch}: {len(state)} arrays of {args.network}, by the names of its original')
    return 0


def _statistics(args: Namespace, network: registry.Network) -> Statistics | None:
    """Return the statistics of the options, else those that the files' names say, if any."""
    name = args.input_statistics
    if name is None:
        told = map(published.input_statistics_of, map(Path, args.input))
        found = sorted({name for name in told if name is not None})
        if len(found) > 1:
            raise UserError(f'-i: files for different inputs, {" and ".join(found)}')
        name = found[0] if found else None
    original = network.family.original
    if name is None and original is not None and original.unknown_statistics:
        print(original.unknown_statistics)
    return registry.STATISTICS.get(name)


def _state_of(path: Path) -> dict[str, Tensor]:
    """The tensors by name in a file; says which were taken where there are several groups."""
    tree = checkpoints.read(path)
    try:
        (keys, state), *others = renaming.states(tree)
    except ModelError as error:
        raise ModelError(f'{path}: {error}') from error
    if keys or others:
        rest = ''.join(f', not {k or "the outermost level"} ({len(g)})' for k, g in others)
        print(f'{path}: taken is {keys or "the outermost level"} ({len(state)} arrays){rest}')
    return state


if __name__ == '__main__':
    sys.exit(run_command(build_parser, main))
