"""The options that say which network runs where, the same for every command, and what they make."""

from argparse import SUPPRESS, Action
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from common.command import Parser
from common.errors import UserError
from common.log import LOG
from engine.backends.base import AUTO, BACKENDS, PRECISIONS
from engine.backends.settings import Settings

if TYPE_CHECKING:  # this module is imported before it is known that NNabla is installed
    from engine.backends.calibration import Calibration
    from engine.config import Config
    from engine.device.context import Choice
    from engine.inference.predictor import Predictor


CONTEXTS, TYPES = ('auto', 'cpu', 'cudnn'), ('float', 'half')
# Options that were removed: the option, the commands that had it, and what to use instead.
REMOVED = (
    (
        '--processes',
        ('infer.py',),
        'openvino and onnxruntime use all cores by themselves, --threads N sets how many',
    ),
    ('--processes', ('evaluate.py',), 'use mpirun -n N python evaluate.py'),
    ('--engine', ('infer.py', 'evaluate.py'), 'use --backend'),
)


def add_options(parser: Parser):
    """Network, weights, where to run, in which precision."""
    parser.add_argument(
        '-m',
        '--model',
        metavar='H5',
        help='weights: a file, or the name of a published one, which is downloaded when it is not '
        "there (default: the config's)",
    )
    parser.add_argument(
        '--partial',
        action='store_true',
        help='load weights that lack parameters or have others, such as a backbone',
    )
    add_network_options(parser)


def add_network_options(parser: Parser):
    """Network, where to run, in which precision."""
    parser.add_argument(
        '-cfg',
        '--config-file',
        metavar='YAML',
        help="the network, its classes and colours (default: the project's configs/D3Net_L.yaml)",
    )
    parser.add_argument(
        '-c',
        '--context',
        default='auto',
        choices=CONTEXTS,
        help='auto is cudnn where it works, else cpu (default: %(default)s)',
    )
    parser.add_argument(
        '-t',
        '--type-config',
        default='float',
        choices=TYPES,
        help='precision; half needs a GPU (default: %(default)s)',
    )
    parser.add_argument(
        '--set',
        action='append',
        default=[],
        metavar='KEY=VALUE',
        help='override a key of the config',
    )
    parser.add_argument(
        '--weights-url', metavar='URL', help='the address to download published weights from'
    )


def add_backend_options(parser: Parser):
    """What computes the network's maps."""
    group = parser.add_argument_group('what computes; the numbers are the same but for rounding')
    group.add_argument(
        '--backend',
        default=AUTO,
        choices=(AUTO, *BACKENDS),
        help='auto is the fastest that is installed, agrees with NNabla and pays: on a CPU '
        'openvino, onnxruntime, nnabla; on a GPU tensorrt, nnabla (default: %(default)s)',
    )
    group.add_argument(
        '--precision',
        default='float32',
        choices=PRECISIONS,
        help='the other two are for openvino: bfloat16 on CPUs that have it, int8 with ranges from '
        'images (default: %(default)s)',
    )
    group.add_argument(
        '--calibration',
        metavar='DIR|GLOB',
        help="images for --precision int8 (default: the training images of the config's data set)",
    )
    group.add_argument(
        '--threads',
        type=int,
        metavar='N',
        help='of a backend that is not nnabla (default: the cores that this process may use)',
    )
    group.add_argument(
        '--on-host',
        action='store_true',
        help='of nnabla on a GPU: normalise images and resize logits on the CPU, as all others do',
    )
    _add_removed_options(parser)


def _add_removed_options(parser: Parser):
    """Make the parser refuse the options that its command had once; help does not list them."""
    for option, commands, successor in REMOVED:
        if parser.prog in commands:
            parser.add_argument(option, action=_Removed, successor=successor)


class _Removed(Action):
    """Raise a ``UserError`` that names the successor of an option, with or without a value."""

    def __init__(self, option_strings: list[str], dest: str, successor: str):
        super().__init__(option_strings, SUPPRESS, nargs='?', default=SUPPRESS, help=SUPPRESS)
        self._successor = successor

    def __call__(self, parser, namespace, values, option_string=None):
        raise UserError(f'{self.option_strings[0]} was removed: {self._successor}')


@dataclass(frozen=True)
class Loaded:
    """A network with its weights, ready to run. calibration: what 8-bit ranges are found on."""

    predictor: 'Predictor'
    config: 'Config'
    weights: Path
    choice: 'Choice'
    calibration: 'Calibration | None' = None


def load(args, config: 'Config', device: int = 0) -> Loaded:
    """The network of a config with the weights of the options, or else the config's.

    device: the number of the GPU. Without the options of a backend it is NNabla. Raises
    ``UserError``.
    """
    import models
    from engine.device import context
    from engine.inference.predictor import Predictor
    from models import input_statistics
    from models.family import NetworkKeys

    if not (args.model or config.get('weights')):
        raise UserError(f'{config.path} names no weights: give some with -m')
    choice = context.use(args.context, args.type_config, device)
    LOG.info('%s', choice)
    weights = models.weights.find(args.model or config['weights'], args.weights_url)
    statistics = models.weights.input_statistics(weights)
    keys = NetworkKeys.of(config)
    statistics = input_statistics.chosen(models.describe(config), statistics, keys, weights)
    network = input_statistics.applied(models.create(config), statistics)

    def release():
        context.release_cached_memory(choice)

    predictor, calibration = Predictor(network, release), None
    if hasattr(args, 'backend'):
        settings = _settings(args, config, network, choice)
        calibration = settings.calibration
        _use_backend(predictor, settings, choice, release, args.on_host)
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
    return Loaded(predictor, config, weights, choice, calibration)


def _use_backend(predictor: 'Predictor', settings, choice: 'Choice', release, on_host: bool):
    """Let the backend of the settings compute; raises ``UserError``."""
    from engine.backends import select
    from engine.backends.nnabla import Graphs

    predictor.backend = select.create(settings, predictor.network, choice, release)
    if choice.name == 'cudnn' and isinstance(predictor.backend, Graphs):
        if not on_host:
            predictor.stay_on_device()
    elif on_host:
        LOG.warning('--on-host has no effect: only NNabla on a GPU does otherwise')


def _settings(args, config: 'Config', network, choice: 'Choice') -> Settings:
    """What the options say of backends; raises ``UserError``."""
    from engine.backends import calibration, select

    settings = Settings(args.backend, args.precision, args.threads)
    select.check(settings, choice)
    if settings.precision == 'int8':
        data_dir = getattr(args, 'data_dir', None)
        images = calibration.find(network, config, args.calibration, data_dir)
        settings = replace(settings, calibration=images)
    elif args.calibration is not None:
        raise UserError('--calibration belongs to --precision int8, which is not given')
    return settings
