"""Make the backend that a user asks for, and log which was taken and why.

backend = create(BackendSettings('auto'), network, choice)
maps = backend.run(x)        # normalised float32 (N, 3, H, W) -> logits (N, classes, h, w)
"""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

from common import machine
from common.errors import UserError
from common.log import LOG
from engine.backends import nnabla, registry
from engine.backends.auto import AutoBackend
from engine.backends.base import AUTO, FLOAT32, NNABLA, Backend, Runtime
from engine.backends.calibration import Calibration
from engine.backends.disk_cache import DiskCache
from engine.backends.errors import BackendError
from engine.backends.exported import ExportedBackend
from engine.backends.registry import Registration, RuntimeRequest
from engine.backends.settings import BackendSettings
from engine.device.context import DeviceChoice
from models import Network


def resolve_name(settings: BackendSettings, choice: DeviceChoice) -> str:
    """Return the backend that is meant, or ``auto``; raises ``UserError`` when it is not there."""
    name = settings.backend
    if settings.precision != FLOAT32:
        able = [
            each.name
            for each in registry.registered().values()
            if settings.precision in each.precisions
        ]
        if name not in (AUTO, *able):
            raise UserError(
                f'--precision {settings.precision}: only --backend {" or ".join(able)} has it'
            )
        name = able[0] if name == AUTO else name
    if name == NNABLA:
        if settings.threads is not None:
            raise UserError('--threads: NNabla has one thread, only the other backends have more')
        return name
    machine.threads(settings.threads)
    if choice.type_config == 'half':
        if name != AUTO:
            by_name = settings.backend != AUTO
            given = f'--backend {name}' if by_name else f'--precision {settings.precision}'
            raise UserError(f'{given}: -t half is for NNabla; leave one of them out')
        return NNABLA
    if name != AUTO:
        entry = registry.registered()[name]
        missing = _missing(entry)
        if missing:
            raise UserError(
                f'--backend {name}: the package {missing} is not installed: {entry.install}'
            )
    return name


def create(
    settings: BackendSettings,
    network: Network,
    choice: DeviceChoice,
    on_new_size: Callable[[], None] = lambda: None,
    cache: DiskCache | None = None,
    calibration: Calibration | None = None,
) -> Backend:
    """Make the backend of the settings for a network whose parameters are registered.

    Args:
        settings: Which backend, and how it computes.
        network: The network.
        choice: NNabla's context, which says whether there is a GPU.
        on_new_size: As for :class:`engine.backends.nnabla.NnablaBackend`.
        cache: Where what is compiled is kept, by default in the user's cache.
        calibration: The images that 8-bit ranges are found on; None for other precisions.

    Returns:
        The backend; a line of the log says what was taken.

    Raises:
        UserError: What is asked for cannot be had.
    """
    graphs = nnabla.NnablaBackend(network, on_new_size)
    name = resolve_name(settings, choice)
    if name == NNABLA:
        _tell_unused_threads(settings)
        return graphs
    kept = cache or DiskCache()
    folder = None if kept.folder is None else str(kept.folder)
    threads = machine.threads(settings.threads)
    request = RuntimeRequest(settings.precision, threads, choice, folder)

    def exported(entry: Registration) -> ExportedBackend:
        return ExportedBackend(network, make_runtime(entry, request), graphs, kept, calibration)

    if name != AUTO:
        backend = exported(registry.registered()[name])
        LOG.info('%s', backend.runtime)
        return backend
    order = registry.tried_by_auto(on_gpu=request.gpu is not None)
    exports: list[ExportedBackend] = []
    reasons, install = [], None
    while order and not exports:
        entry = order.pop(0)
        missing = _missing(entry)
        if missing:
            reasons.append(f'{missing} is not installed')
            install = entry.install
            continue
        try:
            exports.append(exported(entry))
        except BackendError as error:
            reasons.append(str(error))
    why = '; '.join(reasons) + (f': {install}' if install else '')
    taken = exports[0].runtime if exports else NNABLA
    LOG.info('backend: %s%s', taken, f' ({why})' if why else '')
    if not exports:
        _tell_unused_threads(settings)
        return graphs
    others = [partial(exported, entry) for entry in order if not _missing(entry)]
    return AutoBackend([lambda: exports[0], *others], graphs)


def make_runtime(entry: Registration, request: RuntimeRequest) -> Runtime:
    """Make the runtime of a backend; raises ``BackendError`` where it cannot be used."""
    try:
        return entry.make(request)
    except ImportError as error:
        raise BackendError(f'{entry.name} is installed but cannot be imported ({error})') from error


def _tell_unused_threads(settings: BackendSettings) -> None:
    if settings.threads is not None:
        LOG.warning('--threads %d has no effect: NNabla computes, which has one', settings.threads)


def _missing(entry: Registration) -> str | None:
    """The first package that a backend needs and that cannot be imported."""
    for package in entry.packages:
        if find_spec(package) is None:
            return package
    return None
