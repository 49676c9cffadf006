"""python -m benchmarks KIND: time several ways to compute the same result in one run."""

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from common import PROJECT, machine
from common.command import Parser, run_command
from common.errors import UserError
from common.writing.protected_files import ProtectedFiles
from engine.backends import registry
from engine.backends.base import AUTO
from engine.device.settings import CONTEXTS

# Defaults that depend on the machine or on another option; --help shows these words.
ALL_CORES, THIS_PYTHON, ALL_FORMS = 'all cores', 'this one', 'all available'
PHOTO = "the project's photo"
# Options that only some kinds of benchmark have, with their defaults; None: the config decides.
# Training and its parts take fixed sizes: a step at the size of a config takes minutes on a CPU.
KIND_OPTIONS: dict[str, dict[str, Any]] = {
    'blocks': {'size': '128x256', 'context': 'auto', 'rounds': 10},
    'inference': {
        'size': None,
        'context': 'auto',
        'rounds': 5,
        'seconds': 0.5,
        'backend': ['plain', 'nnabla', 'auto'],
        'precision': ['float32'],
        'threads': ALL_CORES,
        'data_dir': PHOTO,
        'peer': 'none',
        'peer_python': THIS_PYTHON,
        'peer_form': ALL_FORMS,
        'compile_mode': 'reduce-overhead',
    },
    'loader': {'data_dir': None, 'batch_size': 4, 'batches': 8, 'rounds': 10},
    'norms': {'size': '256x512', 'batch_size': 2, 'rounds': 5},
    'panorama': {'large_size': '400x10000', 'rounds': 1},
    'serving': {'images': [PHOTO], 'clients': 8, 'requests': 500},
    'training': {
        'size': '256x512',
        'batch_size': 2,
        'context': 'auto',
        'rounds': 5,
        'peer': 'none',
        'peer_python': THIS_PYTHON,
    },
}
PEERS = ('none', 'pytorch')
PRECISIONS = ('float32', 'float16', 'bfloat16', 'int8')
PLAIN = 'plain'  # NNabla with the graph as the published code builds it
FORMS = ('contiguous', 'channels_last', 'compiled', 'recorded')
COMPILE_MODES = ('default', 'reduce-overhead', 'max-autotune', 'max-autotune-no-cudagraphs')


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(prog='python -m benchmarks', description=__doc__)
    parser.add_argument(
        'kind',
        choices=tuple(KIND_OPTIONS),
        help='blocks: D2 blocks that keep the running sum in one tensor, against the plain form; '
        'inference: latency, frames per second, memory and start-up time of networks for each '
        'backend and precision, and in PyTorch; '
        "loader: the loader, packed data, NNabla's iterator and a conventional pipeline; "
        "norms: a training step on a CPU with the project's batch norm and with NNabla's; "
        'panorama: one large image on a CPU with a network that was never compiled: as a whole '
        'under auto, in windows, and in NNabla; '
        'serving: the HTTP server under the load of several clients, whose answers are compared '
        'with what infer.py writes; '
        'training: time and memory of a training step under each recompute policy, on a GPU also '
        'in half precision, channel_last and TF32, and in PyTorch',
    )
    parser.add_argument(
        '-cfg',
        '--config-file',
        action='extend',
        nargs='+',
        default=['configs/D3Net_S.yaml'],
        metavar='YAML',
        help='config of the network; inference takes several (default: configs/D3Net_S.yaml)',
    )
    _add(
        parser, 'data_dir', '-d', '--data-dir', type=Path, metavar='DIR',
        help='folder of the data set; inference calibrates int8 on its training images',
    )  # fmt: skip
    _add(parser, 'size', '--size', metavar='HxW', help='image size')
    _add(parser, 'large_size', '--large-size', metavar='HxW', help='size of the large image')
    _add(parser, 'batch_size', '--batch-size', type=int, metavar='N', help='images per batch')
    _add(parser, 'batches', '--batches', type=int, metavar='N', help='batches per run')
    _add(
        parser, 'images', '--images', action='extend', nargs='+', metavar='FILE',
        help='pictures that the clients send in turns',
    )  # fmt: skip
    _add(parser, 'clients', '--clients', type=int, metavar='N', help='clients at the same time')
    _add(parser, 'requests', '--requests', type=int, metavar='N', help='requests of all clients')
    _add(parser, 'rounds', '--rounds', type=int, metavar='N', help='timed runs of each contestant')
    _add(parser, 'context', '-c', '--context', choices=CONTEXTS, help='device')
    _add(
        parser, 'seconds', '--seconds', type=float, metavar='S',
        help='minimum duration of a turn; short runs are repeated',
    )  # fmt: skip
    _add(
        parser, 'backend', '--backend', action='extend', nargs='+',
        choices=(PLAIN, *registry.names(), AUTO),
        help='backends; plain: NNabla with the graph as the published code builds it',
    )  # fmt: skip
    _add(
        parser, 'precision', '--precision', action='extend', nargs='+', choices=PRECISIONS,
        help='number formats',
    )  # fmt: skip
    _add(parser, 'threads', '--threads', type=int, metavar='N', help='cores for each contestant')
    _add(parser, 'peer', '--peer', choices=PEERS, help='also run the network in this framework')
    _add(
        parser,
        'peer_python',
        '--peer-python',
        metavar='PYTHON',
        help='a Python with torch and numpy',
    )
    _add(
        parser, 'peer_form', '--peer-form', action='extend', nargs='+', choices=FORMS,
        help='how PyTorch runs: in two memory layouts, compiled by torch.compile, recorded as a '
        'CUDA graph; compiled runs on a CPU only if listed here',
    )  # fmt: skip
    _add(
        parser, 'compile_mode', '--compile-mode', choices=COMPILE_MODES,
        help='mode of torch.compile',
    )  # fmt: skip
    parser.add_argument(
        '--json', type=Path, metavar='FILE', help='also write the results to this file'
    )
    return parser


def main(args: Namespace) -> int:
    """Run one benchmark and print its table; return the exit status."""
    _apply_defaults(args)
    for option in ('rounds', 'batch_size', 'batches', 'threads', 'clients', 'requests'):
        if isinstance(getattr(args, option), int) and getattr(args, option) < 1:
            raise UserError(f'{_flag(option)} must be at least 1, not {getattr(args, option)}')
    if args.seconds is not None and not args.seconds >= 0:
        raise UserError(f'--seconds must be at least 0, not {args.seconds}')

    from benchmarks import harness
    from engine import config

    configs = [config.load(path) for path in args.config_file]
    if args.json:
        named = {file for each in configs for file in each.files()}
        ProtectedFiles().add('a config', named).claim_json('--json', args.json)
    if args.kind == 'inference':
        results, facts = _inference(args, configs)
    elif len(configs) > 1:
        raise UserError(f'-cfg: {args.kind} takes one config, inference any number')
    else:
        kinds = {
            'blocks': _blocks,
            'loader': _loader,
            'norms': _norms,
            'panorama': _panorama,
            'serving': _serving,
            'training': _training,
        }
        measure = kinds[args.kind]
        results, facts = measure(args, configs[0])
    names = ', '.join(each.name for each in configs)
    rounds = {'rounds': args.rounds} if 'rounds' in KIND_OPTIONS[args.kind] else {}
    facts = {'config': names, **rounds, **facts}
    try:
        if args.json:
            harness.write_json(args.json, results, facts)
    finally:  # a full disk loses no results
        print(harness.format_table(results, facts))
    return 0


def _add(parser: Parser, option: str, *flags, help: str, **keywords):
    """Add an option of some kinds; its help lists these kinds with their defaults."""
    defaults = ', '.join(f'{kind}: {_default(kind, option)}' for kind in _kinds_with(option))
    parser.add_argument(*flags, help=f'{help} ({defaults})', **keywords)


def _default(kind: str, option: str) -> str:
    value = KIND_OPTIONS[kind][option]
    return ' '.join(value) if isinstance(value, list) else str(value or 'as the config says')


def _kinds_with(option: str) -> list[str]:
    return [kind for kind, own in KIND_OPTIONS.items() if option in own]


def _enumeration(names: list[str]) -> str:
    *others, last = names
    return f'{", ".join(others)} and {last}' if others else last


def _flag(option: str) -> str:
    return f'--{option.replace("_", "-")}'


def _apply_defaults(args):
    """Set missing options to the defaults of this kind; reject options of other kinds."""
    for option in {option: None for own in KIND_OPTIONS.values() for option in own}:
        if option not in KIND_OPTIONS[args.kind] and getattr(args, option) is not None:
            raise UserError(
                f'{_flag(option)} is an option of {_enumeration(_kinds_with(option))}; '
                f'{args.kind} does not have it'
            )
        if getattr(args, option) is None:
            setattr(args, option, KIND_OPTIONS[args.kind].get(option))


def _size(args, option: str = 'size') -> tuple[int, int]:
    """Return the height and width that an option gives."""
    text = getattr(args, option)
    try:
        height, width = map(int, text.split('x'))
    except ValueError:
        raise UserError(
            f'{_flag(option)} {text}: write it as HEIGHTxWIDTH, such as 512x1024'
        ) from None
    return height, width


def _blocks(args, settings):
    size = _size(args)

    from benchmarks import blocks
    from engine.device import context

    choice = context.use(args.context)
    results, facts = blocks.measure_blocks(settings, size, args.rounds)
    return results, {'size': args.size, 'context': str(choice), **facts}


def _peer_python(args) -> str | None:
    """Return the Python that runs PyTorch; None without --peer."""
    from benchmarks import peer

    if args.peer == 'none':
        return None
    python = sys.executable if args.peer_python == THIS_PYTHON else args.peer_python
    peer.require_torch(python)
    return python


def _inference(args, configs):
    size = None if args.size is None else _size(args)

    from benchmarks import contestants, inference
    from engine.device import context

    choice = context.use(args.context)
    python = _peer_python(args)
    threads = machine.threads(None if args.threads == ALL_CORES else args.threads)
    forms = _forms(args, choice.name) if python else []
    compared, left_out = inference.select_contestants(
        args.backend, args.precision, forms, choice.name
    )
    plan = inference.Comparison(
        size, args.rounds, args.seconds, threads, choice.name,
        contestants.PeerOptions(python, args.compile_mode) if python else None,
        None if args.data_dir == PHOTO else args.data_dir,
    )  # fmt: skip
    results, facts = inference.measure_inference(configs, compared, plan)
    settings = {
        'precision': ', '.join(args.precision),
        'context': str(choice),
        'threads': threads,
    }
    if 'compiled' in forms:
        settings['torch.compile'] = args.compile_mode
    return results, settings | left_out | facts


def _forms(args, context: str) -> list[str]:
    """Return the PyTorch forms to measure.

    torch.compile needs a compiler and minutes on a CPU, so there it runs only on request.
    """
    if args.peer_form != ALL_FORMS:
        return args.peer_form
    return [form for form in FORMS if context != 'cpu' or form not in ('compiled', 'recorded')]


def _loader(args, settings):
    from benchmarks import loader
    from engine.config.data import open_dataset

    dataset = open_dataset(settings, 'train', args.data_dir)
    return loader.measure_loading(settings, dataset, args.batch_size, args.batches, args.rounds)


def _norms(args, settings):
    size = _size(args)

    from benchmarks import norms
    from engine.device import context

    choice = context.use('cpu')
    results, facts = norms.measure_batch_norms(settings, size, args.batch_size, args.rounds)
    batch = f'{args.batch_size} images of {args.size}'
    return results, {'batch': batch, 'context': str(choice), **facts}


def _panorama(args, settings):
    size = _size(args, 'large_size')

    from benchmarks import panorama

    results, facts = panorama.measure_panorama(settings, size, args.rounds)
    return results, {'size': args.large_size, **facts}


def _serving(args, settings):
    from benchmarks import serving

    images = [PROJECT / 'resources' / 'street.jpg'] if args.images == [PHOTO] else args.images
    for path in map(Path, images):
        if not path.is_file():
            raise UserError(f'--images {path}: no such file')
    options = ['-cfg', str(settings.path)]
    return serving.measure_serving(options, list(map(Path, images)), args.clients, args.requests)


def _training(args, settings):
    size = _size(args)

    from benchmarks import training
    from engine.device import context

    choice = context.use(args.context)
    results, facts = training.measure_training(
        settings, choice, size, args.batch_size, args.rounds, _peer_python(args)
    )
    return results, {'context': str(choice), **facts}


if __name__ == '__main__':
    sys.exit(run_command(build_parser, main))
