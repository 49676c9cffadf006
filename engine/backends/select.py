"""Create the backend that the settings select, and log which one it is and why.

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
    """Return the name of the backend that the settings select, or ``auto``.

    Args:
        settings: The backend's settings.
        choice: NNabla's context.

    Raises:
        UserError: The backend is not installed, or does not support the settings.
    """
    name = settings.backend
    if settings.precision != FLOAT32:
        able = [
            each.name
            for each in registry.registered().values()
            if settings.precision in each.precisions
        ]
        if name not in (AUTO, *able):
            raise UserError(
                f'--precision {settings.precision}: only --backend {" or ".join(able)} supports it'
            )
        name = able[0] if name == AUTO else name
    if name == NNABLA:
        if settings.threads is not None:
            raise UserError('--threads: NNabla uses one thread; only other backends use more')
        return name
    machine.threads(settings.threads)
    if choice.type_config == 'half':
        if name != AUTO:
            by_name = settings.backend != AUTO
            given = f'--backend {name}' if by_name else f'--precision {settings.precision}'
            raise UserError(f'{given}: -t half works with NNabla only; remove one of the two')
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
    """Create the backend that the settings select, and log its name.

    Args:
        settings: The backend, its precision and its threads.
        network: The network, whose parameters are registered.
        choice: NNabla's context, which decides whether the backend uses a GPU.
        on_new_size: Function that frees memory which only the old shapes can use, see
            :class:`engine.backends.nnabla.NnablaBackend`.
        cache: The disk cache of compiled models; None for the one in the user's cache folder.
        calibration: Calibration images for the value ranges of int8; None for other precisions.

    Raises:
        UserError: The backend is not installed, or does not support the settings.
    """
    graphs = nnabla.NnablaBackend(network, on_new_size)
    name = resolve_name(settings, choice)
    if name == NNABLA:
        _warn_of_unused_threads(settings)
        return graphs
    disk_cache = cache or DiskCache()
    threads = machine.threads(settings.threads)
    request = RuntimeRequest(settings.precision, threads, choice)

    def exported(entry: Registration) -> ExportedBackend:
        made = make_runtime(entry, request)
        return ExportedBackend(network, made, graphs, disk_cache, calibration)

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
        _warn_of_unused_threads(settings)
        return graphs
    others = [partial(exported, entry) for entry in order if not _missing(entry)]
    return AutoBackend([lambda: exports[0], *others], graphs, settings.eager)


def make_runtime(entry: Registration, request: RuntimeRequest) -> Runtime:
    """Make the runtime of a backend; raise ``BackendError`` if the runtime cannot work."""
    try:
        return entry.make(request)
    except ImportError as error:
        raise BackendError(f'{entry.name} is installed but cannot be imported ({error})') from error


def _warn_of_unused_threads(settings: BackendSettings) -> None:
    if settings.threads is not None:
        LOG.warning('--threads %d has no effect: NNabla uses one thread', settings.threads)


def _missing(entry: Registration) -> str | None:
    """Return the first required package that is not installed; None if all are installed."""
    for package in entry.packages:
        if find_spec(package) is None:
            return package
    return None
