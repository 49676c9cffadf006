"""The backends by name: NNabla, and the runtimes that are registered.

A runtime is registered by the module that has it, which may be one of your own:

    from engine.backends.registry import Registration, register

    register(Registration('mine', ('package',), 'python -m pip install package', make=MyRuntime))

``--import`` of every command imports that module before the options are used.
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

BUILT_IN = ('onnxruntime', 'openvino', 'tensorrt')  # modules of this package that register one
_registered: Registry[Registration] = Registry('a backend')


@dataclass(frozen=True)
class RuntimeRequest:
    """What a runtime is asked for.

    Attributes:
        precision: One of those that its registration names.
        threads: How many threads compute on the CPU.
        choice: NNabla's context, which says whether there is a GPU.
        folder: Where the runtime may keep files of its own; None where there is no place.
    """

    precision: str
    threads: int
    choice: DeviceChoice
    folder: str | None = None

    @property
    def gpu(self) -> int | None:
        """The number of the GPU; None on the CPU."""
        return self.choice.device if self.choice.name == 'cudnn' else None


@dataclass(frozen=True)
class Registration:
    """A backend: a runtime that networks are exported to.

    Attributes:
        name: What ``--backend`` calls it.
        packages: What it imports.
        install: The command that installs these.
        make: Makes the runtime; raises ``BackendError`` where it cannot be used, ``ImportError``.
        precisions: What ``--precision`` may be.
        on_cpu, on_gpu: Its place in the order in which ``--backend auto`` tries the backends there,
            the least first; None where auto does not try it.
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
        UserError: There is one of that name.
    """
    if registration.name in (AUTO, NNABLA):
        raise UserError(f'{registration.name} is no name for a backend of your own: it is taken')
    _import_built_in()  # whose names are taken
    _registered.add(registration.name, registration)


def registered() -> dict[str, Registration]:
    """Return the registered backends by name, in the order in which auto tries them on a CPU."""
    _import_built_in()
    every = sorted(_registered.values(), key=lambda each: (_place(each.on_cpu), each.name))
    return {each.name: each for each in every}


def tried_by_auto(on_gpu: bool) -> list[Registration]:
    """Return the backends that ``--backend auto`` tries on a CPU or on a GPU, the first first."""
    places = {name: each.on_gpu if on_gpu else each.on_cpu for name, each in registered().items()}
    tried = [each for name, each in registered().items() if places[name] is not None]
    return sorted(tried, key=lambda each: _place(places[each.name]))


def names() -> tuple[str, ...]:
    """Return the name of every backend: NNabla, and the registered ones by the alphabet."""
    return NNABLA, *sorted(registered())


def precisions() -> tuple[str, ...]:
    """Return every precision that a backend has, float32 first."""
    others = (precision for each in registered().values() for precision in each.precisions)
    return tuple(dict.fromkeys((FLOAT32, *others)))


def _import_built_in() -> None:
    for module in BUILT_IN:
        importlib.import_module(f'engine.backends.{module}')


def _place(place: float | None) -> float:
    return math.inf if place is None else place
