"""Make the backend that a user asks for, and log which was taken and why.

backend = create(Settings('auto'), network, choice)
maps = backend.run(x)        # normalised float32 (N, 3, H, W) -> logits (N, classes, h, w)
"""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

from common import machine
from common.errors import UserError
from common.log import LOG
from engine.backends import nnabla, onnxruntime, openvino, tensorrt
from engine.backends.auto import Auto
from engine.backends.base import AUTO, Backend
from engine.backends.disk_cache import DiskCache
from engine.backends.errors import BackendError
from engine.backends.exported import Exported
from engine.backends.settings import Settings
from engine.device.context import Choice
from models import Network

RUNTIMES = {module.NAME: module for module in (openvino, onnxruntime, tensorrt)}
ON_CPU = (openvino.NAME, onnxruntime.NAME)  # the fastest first
ON_GPU = (tensorrt.NAME,)  # only where it is installed is an export faster there than NNabla
REDUCED = openvino.NAME  # the only one with other precisions


def check(settings: Settings, choice: Choice) -> str:
    """Return the backend that is meant, or ``auto``; raises ``UserError`` when it is not there."""
    name = settings.backend
    if settings.precision != 'float32':
        if name not in (AUTO, REDUCED):
            raise UserError(f'--precision {settings.precision}: only --backend {REDUCED} has it')
        name = REDUCED
    if name == nnabla.NAME:
        if settings.threads is not None:
            raise UserError('--threads: NNabla has one thread, only the other backends have more')
        return name
    machine.threads(settings.threads)
    if choice.type_config == 'half':
        if name != AUTO:
            by_name = settings.backend != AUTO
            given = f'--backend {name}' if by_name else f'--precision {settings.precision}'
            raise UserError(f'{given}: -t half is for NNabla; leave one of them out')
        return nnabla.NAME
    missing = None if name == AUTO else _missing(name)
    if missing:
        raise UserError(
            f'--backend {name}: the package {missing} is not installed: {RUNTIMES[name].INSTALL}'
        )
    return name


def create(
    settings: Settings,
    network: Network,
    choice: Choice,
    on_new_size: Callable[[], None] = lambda: None,
    cache: DiskCache | None = None,
) -> Backend:
    """The backend of the settings for a network whose parameters are registered.

    choice: NNabla's context, which says whether there is a GPU. on_new_size: as for
    :class:`engine.backends.nnabla.Graphs`. Says in a line of the log what was taken. Raises
    ``UserError`` when what is asked for cannot be had.
    """
    graphs = nnabla.Graphs(network, on_new_size)
    name = check(settings, choice)
    if name == nnabla.NAME:
        _tell_unused_threads(settings)
        return graphs
    threads, cache = machine.threads(settings.threads), cache or DiskCache()

    def exported(name: str) -> Exported:
        runtime = _runtime(name, settings.precision, threads, choice, cache)
        return Exported(network, runtime, graphs, cache, settings.calibration)

    if name != AUTO:
        backend = exported(name)
        LOG.info('%s', backend.runtime)
        return backend
    order = list(ON_GPU if choice.name == 'cudnn' else ON_CPU)
    exports: list[Exported] = []
    reasons: list[str] = []
    install = None
    while order and not exports:
        name = order.pop(0)
        missing = _missing(name)
        if missing:
            reasons.append(f'{missing} is not installed')
            install = RUNTIMES[name].INSTALL
            continue
        try:
            exports.append(exported(name))
        except BackendError as error:
            reasons.append(str(error))
    why = '; '.join(reasons) + (f': {install}' if install else '')
    taken = exports[0].runtime if exports else nnabla.NAME
    LOG.info('backend: %s%s', taken, f' ({why})' if why else '')
    if not exports:
        _tell_unused_threads(settings)
        return graphs
    others = [partial(exported, each) for each in order if not _missing(each)]
    return Auto([lambda: exports[0], *others], graphs)


def _runtime(name, precision, threads, choice, cache):
    device = choice.device if choice.name == 'cudnn' else None
    try:
        if name == openvino.NAME:
            return openvino.OpenVINO(precision, threads)
        if name == onnxruntime.NAME:
            return onnxruntime.ONNXRuntime(threads, device)
        if device is None:
            reason = choice.reason or '-c cpu is given'
            raise BackendError(f'--backend {tensorrt.NAME}: needs a GPU ({reason})')
        return tensorrt.TensorRT(device, threads, cache.folder and str(cache.folder))
    except ImportError as error:
        raise BackendError(f'{name} is installed but cannot be imported ({error})') from error


def _tell_unused_threads(settings):
    if settings.threads is not None:
        LOG.warning('--threads %d has no effect: NNabla computes, which has one', settings.threads)


def _missing(name: str) -> str | None:
    """The first package that a backend needs and that cannot be imported."""
    for package in RUNTIMES[name].PACKAGES:
        if find_spec(package) is None:
            return package
    return None
