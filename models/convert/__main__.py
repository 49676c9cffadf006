"""Convert PyTorch checkpoints to NNabla weights and back, without PyTorch.

Usage:

    python -m models.convert --network NAME -i CHECKPOINT [-i SECOND] -o OUT.h5
    python -m models.convert --network NAME -i WEIGHTS.h5 --to-pytorch OUT.npz
"""

import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nnabla as nn
import numpy as np
from numpy.typing import NDArray

from common import files
from common.command import Parser, run_command
from common.errors import UserError
from common.log import LOG
from common.terminal.name_list import first_names
from common.terminal.printable import one_line
from common.writing.protected_files import ProtectedFiles
from layers.workspace import Workspace
from models import convert, input_statistics, registry, weights
from models.convert import checkpoints, matching, recognition, reporting
from models.convert.tensors import Tensor
from models.errors import ModelError
from models.family import Statistics
from models.weights import published

MAX_LISTED_GROUPS = 6  # of tensors in a checkpoint that are not used
OUTERMOST = 'the outermost level'


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(prog='python -m models.convert', description=__doc__.splitlines()[0])
    parser.add_argument('--network', required=True, metavar='NAME', help='name of the network')
    parser.add_argument(
        '-i',
        '--input',
        required=True,
        action='extend',
        nargs='+',
        metavar='FILE',
        help='a checkpoint (torch.save, .safetensors, .npz) or the name of a published one; '
        'two files if encoder and decoder are in separate ones',
    )
    parser.add_argument('-o', '--output', type=Path, metavar='FILE', help='the .h5 file to write')
    parser.add_argument(
        '--to-pytorch',
        type=Path,
        metavar='FILE',
        help='convert in the other direction: write the .h5 file of -i as .npz or .safetensors',
    )
    parser.add_argument(
        '--input-statistics',
        choices=registry.STATISTICS,
        help='input statistics of the training images, stored in the .h5 file: imagenet (RGB with '
        "ImageNet's mean and deviation) or csail_bgr (BGR minus a mean, of CSAIL's baseline-* "
        "files); default: those that the names of FILE and its folder imply, else the network's",
    )
    parser.add_argument(
        '--num-classes', type=int, metavar='N', help="number of classes (default: the network's)"
    )
    parser.add_argument(
        '--inputs', type=int, metavar='N', help='number of input pictures (default: one)'
    )
    parser.add_argument(
        '--tasks',
        nargs='+',
        metavar='TASK',
        help='names of the tasks, in the order of the decoders (default: segmentation)',
    )
    parser.add_argument(
        '--task-channels',
        type=int,
        nargs='+',
        metavar='N',
        help='number of classes of each task; 1 for depth',
    )
    parser.add_argument(
        '--partial',
        action='store_true',
        help='convert the matching arrays; skip arrays that only the checkpoint or only the '
        'network has, and heads for another number of classes',
    )
    parser.add_argument(
        '--check',
        action='store_true',
        help='segment a street photo and print the range of the logits before writing the output',
    )
    parser.add_argument('--verbose', action='store_true', help='list every array')
    return parser


def main(args: Namespace) -> int:
    """Run the command and return its exit status."""
    if bool(args.output) == bool(args.to_pytorch):
        raise UserError('pass either -o FILE.h5 or --to-pytorch FILE')
    if args.to_pytorch and (args.check or len(args.input) > 1):
        raise UserError('--to-pytorch takes one input file and cannot be combined with --check')
    if args.to_pytorch and args.input_statistics:
        raise UserError('--input-statistics applies to .h5 files only; --to-pytorch writes none')

    target = args.output or args.to_pytorch
    option = '-o' if args.output else '--to-pytorch'
    if target.suffix not in (('.h5',) if args.output else checkpoints.WRITABLE_SUFFIXES):
        endings = '.h5' if args.output else ' or '.join(checkpoints.WRITABLE_SUFFIXES)
        raise UserError(f'{target}: the name of the output file must end in {endings}')
    convert.check_convertible(args.network)
    keys = ('num_classes', 'inputs', 'tasks', 'task_channels')
    overrides = {key: value for key in keys if (value := getattr(args, key)) is not None}
    network = registry.create(args.network, **overrides)
    if not args.to_pytorch:
        network = input_statistics.apply(network, _statistics(args, network))
    inputs = [weights.stored(name) for name in args.input]
    ProtectedFiles().add('an input', inputs).claim(option, target)
    files.check_writable(target)
    return (
        convert_to_pytorch(args, network)
        if args.to_pytorch
        else convert_from_pytorch(args, network)
    )


def convert_from_pytorch(args: Namespace, network: registry.Network) -> int:
    """Convert checkpoints to an ``.h5`` file; write it only after all checks pass."""
    paths = [weights.find(name) for name in args.input]
    states = [_state_of(path) for path in paths]
    shapes = [matching.parameters(state) for state in states]
    found = matching.match_arrays(shapes, matching.shapes_of(network))
    encoder = not found.is_complete and matching.is_encoder_of(args.network, found)
    if not (
        found.is_complete
        or encoder
        or args.partial
        and recognition.is_partial_network(network, shapes, found)
    ):
        reason = recognition.explain_mismatch(network, shapes, found)
        raise UserError(f'{" and ".join(map(str, paths))}: {reason}')
    if args.check and (found.missing or found.wrong_shape):
        raise UserError('--check needs a whole network, but the files contain only a part of one')

    arrays: dict[str, NDArray[np.float32]] = {}
    for number, path in enumerate(paths):
        taken = {n: states[number][k] for n, (i, k) in found.sources.items() if i == number}
        arrays |= checkpoints.read_arrays(taken, path)
    print(*reporting.conversion_table(found, arrays, paths, args.verbose), sep='\n')
    if ignored := sum(map(len, states)) - sum(map(len, shapes)):
        print(f'ignored: counters of batch norms and arrays of a loss ({ignored})')
    if encoder:
        print(
            'Only the encoder is converted, as initial weights for a training (implies --partial).'
        )
        if advice := recognition.channel_order_hint(args.network, shapes):
            print(advice)
    with Workspace({}).entered():
        matching.register(network)
        strict = not (found.missing or found.wrong_shape)
        report = _load(convert.from_pytorch(args.network, arrays), strict, paths)
        if args.check:
            LOG.info('segmenting a photo')
            print(*reporting.check_on_photo(network), sep='\n')
        for name in report.missing:
            nn.parameter.pop_parameter(name)
        weights.save(args.output, network.info)
    statistics = input_statistics.describe(input_statistics.of_info(network.info))
    print(
        f'{one_line(args.output)}: {len(report.loaded)} arrays of {args.network}, for {statistics}'
    )
    return 0


def convert_to_pytorch(args: Namespace, network: registry.Network) -> int:
    """Convert an ``.h5`` file to the original's names; with ``--partial`` it may lack arrays."""
    path = weights.find(args.input[0])
    arrays = weights.read(path)
    with Workspace({}).entered():
        matching.register(network)
        loaded = _load(arrays, not args.partial, [path]).loaded
    state = convert.to_pytorch(args.network, {name: arrays[name] for name in loaded})
    checkpoints.write(args.to_pytorch, state)
    print(
        f'{one_line(args.to_pytorch)}: {len(state)} arrays of {args.network}, named as in the '
        'original code'
    )
    return 0


def _load(
    arrays: Mapping[str, NDArray[Any]], strict: bool, paths: Sequence[Path]
) -> weights.LoadReport:
    """Load arrays into the registered parameters; an error names the files they come from."""
    try:
        return weights.load(arrays, strict=strict)
    except ModelError as error:
        source = ' and '.join(map(str, paths))
        raise ModelError(str(error).replace('the given arrays', source, 1)) from error


def _statistics(args: Namespace, network: registry.Network) -> Statistics | None:
    """Return the statistics of ``--input-statistics``, else those implied by the files' names."""
    name = args.input_statistics
    if name is None:
        implied = map(published.input_statistics_of, map(Path, args.input))
        found = sorted({name for name in implied if name is not None})
        if len(found) > 1:
            raise UserError(
                f'-i: the files were trained with different input statistics: {" and ".join(found)}'
            )
        name = found[0] if found else None
    original = network.family.original
    if name is None and original is not None and original.unknown_statistics:
        print(original.unknown_statistics)
    return registry.STATISTICS.get(name)


def _state_of(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name; if it holds several groups, print the chosen one."""
    files.log_if_large('reading', path)
    tree = checkpoints.read(path)
    try:
        (keys, state), *others = matching.states(tree)
    except ModelError as error:
        raise ModelError(
            f'{path}: {error}; pass a file with the state_dict() of one network'
        ) from error
    if keys or others:
        unused = [f'{k or OUTERMOST} ({len(group)})' for k, group in others]
        rest = f', not {first_names(unused, MAX_LISTED_GROUPS)}' if unused else ''
        print(one_line(f'{path}: using {keys or OUTERMOST} ({len(state)} arrays){rest}'))
    return state


if __name__ == '__main__':
    sys.exit(run_command(build_parser, main))
