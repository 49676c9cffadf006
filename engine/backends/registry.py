"""The registry of backends that run exported networks. NNabla itself needs no registration.

The module that defines a runtime registers it as a backend. Your own module can do the same:

    from engine.backends.registry import Registration, register

    register(Registration('mine', ('package',), 'python -m pip install package', make=MyRuntime))

The option ``--import`` of every command imports that module before the other options are checked.
"""

from __future__ import annotations  # so that an older Python can import this module

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.errors import UserError
from common.registry import Registry
from engine.backends.base import AUTO, FLOAT32, NNABLA, Runtime

if TYPE_CHECKING:
    from engine.device.context import DeviceChoice

BUILT_IN = ('onnxruntime', 'openvino', 'tensorrt')  # modules of this package with a backend each
_registered: Registry[Registration] = Registry('a backend')


@dataclass(frozen=True)
class RuntimeRequest:
    """The arguments with which a runtime is made.

    Attributes:
        precision: One of the precisions of its registration.
        threads: Number of CPU threads.
        choice: NNabla's context, which decides whether the runtime uses a GPU.
    """

    precision: str
    threads: int
    choice: DeviceChoice

    @property
    def gpu(self) -> int | None:
        """The number of the GPU; None on the CPU."""
        return self.choice.device if self.choice.name == 'cudnn' else None


@dataclass(frozen=True)
class Registration:
    """A backend that runs exported networks in a runtime.

    Attributes:
        name: The backend's name, as ``--backend`` takes it.
        packages: Names of the packages that the backend imports.
        install: The command that installs these packages.
        make: Function that makes the runtime. It raises ``BackendError`` if the runtime cannot work
            on this machine, and ``ImportError`` if a package cannot be imported.
        precisions: The values of ``--precision`` that the backend supports.
        on_cpu: Rank among the backends that ``--backend auto`` tries on a CPU, lowest first; None
            if auto does not try this one.
        on_gpu: The same for a GPU.
    """

    name: str
    packages: tuple[str, ...]
    install: str
    make: Callable[[RuntimeRequest], Runtime]
    precisions: tuple[str, ...] = (FLOAT32,)
    on_cpu: float | None = None
    on_gpu: float | None = None


def register(registration: Registration) -> None:
    """Add a backend.

    Raises:
        UserError: The name is taken.
    """
    if registration.name in (AUTO, NNABLA):
        raise UserError(f'a backend cannot be called {registration.name}: that name is taken')
    _import_built_in()  # so that a new backend cannot take one of their names
    _registered.add(registration.name, registration)


def registered() -> dict[str, Registration]:
    """Return the registered backends by name, ordered as ``auto`` tries them on a CPU."""
    _import_built_in()
    every = sorted(_registered.values(), key=lambda each: (_place(each.on_cpu), each.name))
    return {each.name: each for each in every}


def tried_by_auto(on_gpu: bool) -> list[Registration]:
    """Return the backends that ``--backend auto`` tries on a CPU or on a GPU, in that order."""
    places = {name: each.on_gpu if on_gpu else each.on_cpu for name, each in registered().items()}
    tried = [each for name, each in registered().items() if places[name] is not None]
    return sorted(tried, key=lambda each: _place(places[each.name]))


def names() -> tuple[str, ...]:
    """Return the names of all backends: NNabla first, then the others in alphabetical order."""
    return NNABLA, *sorted(registered())


def precisions() -> tuple[str, ...]:
    """Return all precisions that any backend supports, float32 first."""
    others = (precision for each in registered().values() for precision in each.precisions)
    return tuple(dict.fromkeys((FLOAT32, *others)))


def _import_built_in() -> None:
    for module in BUILT_IN:
        importlib.import_module(f'engine.backends.{module}')


def _place(place: float | None) -> float:
    return math.inf if place is None else place
