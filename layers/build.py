"""What is common to one build of a network: how its layers behave, and how parameters are named.

The path of scopes is followed here beside NNabla's own, because a layer must know the full name of
a parameter to tell whether it is frozen.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import nnabla as nn
import nnabla.communicators as C
from nnabla.parameter import get_parameter, get_parameter_or_create, set_parameter
from numpy.typing import NDArray

from common.patterns import matches

RECOMPUTE_POLICIES = ('none', 'bn_relu', 'convolution', 'blocks')

Initializer: TypeAlias = Callable[[tuple[int, ...]], NDArray[Any]]  # a shape -> initial values

_path: list[str] = []  # NNabla's scopes are global too: graphs are built in one thread


class Communicator(Protocol):
    """Joins the processes over which batch statistics are taken."""

    size: int
    nnabla: C.Communicator | None  # NNabla's own, which synchronizes on GPUs

    def total(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the sum of an array over all processes."""


@dataclass(frozen=True)
class Build:
    """What is common to all layers of one build of a network.

    train: batch statistics that also update the running ones; otherwise the running statistics are
        used.
    freeze_statistics: in training, too, use the running statistics and leave them alone.
    communicator: of the processes over which batch statistics are taken; None for local ones.
    frozen: patterns of parameter names, as in a shell; these parameters get no gradient, and batch
        norms whose running mean or variance is among them keep and use both.
    recompute: which activations a training step frees and computes again in the backward pass:
        ``none``; ``bn_relu``, the outputs of batch norm and ReLU; ``convolution``, those of the
        convolutions (the published D3Net policy); ``blocks``, everything inside the blocks that a
        network marks with :func:`layers.functions.recomputed_block`.
    dropout: in training, drop what a network's dropout layers drop.
    cuda: the forms that NNabla runs best, or at all, on a GPU: batch norm and ReLU as one function,
        grouped instead of depthwise convolution, a fixed batch norm that is trained through as
        scale and shift. The numbers are the same.
    channel_last: tensors are (N, H, W, C) inside the network; NNabla computes so on GPUs only.
        Parameters keep their shapes.
    """

    train: bool = False
    freeze_statistics: bool = False
    communicator: Communicator | None = None
    frozen: tuple[str, ...] = ()
    recompute: str = 'none'
    dropout: bool = True
    cuda: bool = False
    channel_last: bool = False

    def __post_init__(self) -> None:
        if self.recompute not in RECOMPUTE_POLICIES:
            raise ValueError(
                f'unknown recompute policy {self.recompute!r}; '
                f'there are {", ".join(RECOMPUTE_POLICIES)}'
            )

    @property
    def channel_axis(self) -> int:
        """Which axis of the maps counts channels."""
        return 3 if self.channel_last else 1

    @property
    def synchronizes(self) -> bool:
        """Whether batch norms wait for those of other processes."""
        return self.train and self.communicator is not None and self.communicator.size > 1

    def is_frozen(self, name: str) -> bool:
        """Whether the parameter ``name`` of the current scope is frozen."""
        return matches('/'.join([*_path, name]), self.frozen)

    def parameter(
        self, name: str, shape: tuple[int, ...], initializer: Initializer, trainable: bool = True
    ) -> nn.Variable:
        """The parameter ``name`` of the current scope, created when it is not there yet."""
        return get_parameter_or_create(
            name, shape, initializer, trainable, trainable and not self.is_frozen(name)
        )


class Outline(Build):
    """A build of parameters that have shapes and no values."""

    def parameter(
        self, name: str, shape: tuple[int, ...], initializer: Initializer, trainable: bool = True
    ) -> nn.Variable:
        known = get_parameter(name)
        if known is None:
            known = nn.Variable(shape, need_grad=trainable)
            set_parameter(name, known)
        return known


@contextmanager
def scope(name: str) -> Iterator[None]:
    """Put ``name/`` before the names of the parameters that are created inside."""
    _path.append(name)
    try:
        with nn.parameter_scope(name):
            yield
    finally:
        _path.pop()


def recompute_if(condition: bool) -> AbstractContextManager[None]:
    """A context in which outputs are freed and computed again in the backward pass, or none."""
    return nn.recompute(True) if condition else nullcontext()


def float_context(context: nn.Context | None = None) -> nn.Context:
    """``context``, by default the current one, without the parts that compute in half precision."""
    context = context or nn.get_current_context()
    backend = [part for part in context.backend if part.endswith(':float')]
    return nn.Context(backend, context.array_class, context.device_id)


def on_gpu() -> bool:
    """Whether NNabla's current context is a GPU."""
    return any(
        backend.startswith(('cudnn', 'cuda')) for backend in nn.get_current_context().backend
    )
