"""From what a user asks for to an engine, with a line on what was taken and why."""

from collections.abc import Callable
from importlib.util import find_spec

from command import LOG, UserError
from engine.context import Choice
from engine.engines import AUTO, Engine, Settings, machine, nnabla, onnxruntime, openvino, tensorrt
from engine.engines.auto import Auto
from engine.engines.cache import Cache
from engine.engines.errors import EngineError
from engine.engines.exported import Exported
from models import Network

RUNTIMES = {module.NAME: module for module in (openvino, onnxruntime, tensorrt)}
ON_CPU = (openvino.NAME, onnxruntime.NAME)  # the fastest first
ON_GPU = (tensorrt.NAME,)  # only where it is installed is an export faster there than NNabla
REDUCED = openvino.NAME  # the only one with other precisions


def check(settings: Settings, choice: Choice) -> str:
    """The engine that is meant, ``auto`` among them; raises ``UserError`` when it cannot be had."""
    name = settings.engine
    if settings.precision != 'float32':
        if name not in (AUTO, REDUCED):
            raise UserError(f'--precision {settings.precision}: only --engine {REDUCED} has it')
        name = REDUCED
    if name == nnabla.NAME:
        if settings.threads is not None:
            raise UserError('--threads: NNabla has one thread, only the other engines have more')
        return name
    machine.threads(settings.threads)
    if choice.type_config == 'half':
        if name != AUTO:
            by_name = settings.engine != AUTO
            given = f'--engine {name}' if by_name else f'--precision {settings.precision}'
            raise UserError(f'{given}: -t half is for NNabla; leave one of them out')
        return nnabla.NAME
    missing = None if name == AUTO else _missing(name)
    if missing:
        raise UserError(
            f'--engine {name}: the package {missing} is not installed: {RUNTIMES[name].INSTALL}'
        )
    return name


def create(
    settings: Settings,
    network: Network,
    choice: Choice,
    on_new_size: Callable[[], None] = lambda: None,
    cache: Cache | None = None,
) -> Engine:
    """The engine of the settings for a network whose parameters are registered.

    choice: NNabla's context, which says whether there is a GPU. on_new_size: as for
    :class:`engine.engines.nnabla.Graphs`. Says in a line of the log what was taken. Raises
    ``UserError`` when what is asked for cannot be had.
    """
    graphs = nnabla.Graphs(network, on_new_size)
    name = check(settings, choice)
    if name == nnabla.NAME:
        _tell_unused_threads(settings)
        return graphs
    threads, cache = machine.threads(settings.threads), cache or Cache()

    def exported(name: str) -> Exported:
        runtime = _runtime(name, settings.precision, threads, choice, cache)
        return Exported(network, runtime, graphs, cache, settings.calibration)

    if name != AUTO:
        engine = exported(name)
        LOG.info('%s', engine.runtime)
        return engine
    order = list(ON_GPU if choice.name == 'cudnn' else ON_CPU)
    exports, reasons, install = [], [], None
    while order and not exports:
        name = order.pop(0)
        missing = _missing(name)
        if missing:
            reasons.append(f'{missing} is not installed')
            install = RUNTIMES[name].INSTALL
            continue
        try:
            exports.append(exported(name))
        except EngineError as error:
            reasons.append(str(error))
    why = '; '.join(reasons) + (f': {install}' if install else '')
    taken = exports[0].runtime if exports else nnabla.NAME
    LOG.info('engine: %s%s', taken, f' ({why})' if why else '')
    if not exports:
        _tell_unused_threads(settings)
        return graphs
    others = [lambda each=each: exported(each) for each in order if not _missing(each)]
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
            raise EngineError(f'--engine {tensorrt.NAME}: needs a GPU ({reason})')
        return tensorrt.TensorRT(device, threads, cache.folder and str(cache.folder))
    except ImportError as error:
        raise EngineError(f'{name} is installed but cannot be imported ({error})') from error


def _tell_unused_threads(settings):
    if settings.threads is not None:
        LOG.warning('--threads %d has no effect: NNabla computes, which has one', settings.threads)


def _missing(name: str) -> str | None:
    """The first package that an engine needs and that cannot be imported."""
    for package in RUNTIMES[name].PACKAGES:
        if find_spec(package) is None:
            return package
    return None
