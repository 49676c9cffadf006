"""The settings of one build of a network, and the scopes that name its parameters.

This module tracks the path of scopes in addition to NNabla, because a layer needs the full name of
a parameter to decide whether the parameter is frozen.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import nnabla as nn
import nnabla.communicators as C
from nnabla.parameter import get_parameter, get_parameter_or_create, set_parameter
from numpy.typing import NDArray

from common.patterns import matches

RECOMPUTE_POLICIES = ('none', 'bn_relu', 'convolution', 'blocks')

Initializer: TypeAlias = Callable[[tuple[int, ...]], NDArray[Any]]  # shape -> initial values

_path: list[str] = []  # global, as NNabla's scopes are: layers.workspace.NNABLA_LOCK guards it


class Communicator(Protocol):
    """The interface to the processes that share batch statistics.

    Attributes:
        size: Number of processes.
        nnabla: NNabla's own communicator, which synchronizes on GPUs; None on CPUs.
    """

    size: int
    nnabla: C.Communicator | None

    def total(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the sum of an array over all processes."""


@dataclass(frozen=True)
class Build:
    """The settings that all layers of one build of a network share.

    Attributes:
        train: Use batch statistics and update the running statistics; otherwise use the running
            statistics.
        freeze_statistics: Use the running statistics unchanged, also in training.
        communicator: Processes over which batch statistics are taken; None: this process only.
        frozen: Shell patterns of parameter names. These parameters get no gradient. A batch norm
            whose running mean or variance matches uses both unchanged.
        recompute: Activations that a training step frees and computes again in the backward pass:
            ``none``; ``bn_relu``, the outputs of batch norm and ReLU; ``convolution``, the outputs
            of convolutions (the published D3Net policy); ``blocks``, everything inside the blocks
            that a network marks with :func:`layers.functions.recomputed_block`.
        dropout: Apply dropout in training.
        cuda: Use the functions that run best, or at all, on a GPU: batch norm fused with ReLU,
            grouped instead of depthwise convolution, and scale and shift instead of a batch norm
            with fixed statistics in training. The numbers are the same.
        channel_last: Tensors inside the network are (N, H, W, C), which NNabla supports on GPUs
            only. Parameters keep their shapes.
        task_taps: If the caller passes a dict, the graph of a network with several tasks puts the
            encoder's last map into it, as each task's decoder reads it, by the name of the task.
            After a backward pass, ``.g`` of these Variables is the gradient of the task's loss
            alone. They are in the build's layout, and forward and backward passes keep them.
    """

    train: bool = False
    freeze_statistics: bool = False
    communicator: Communicator | None = None
    frozen: tuple[str, ...] = ()
    recompute: str = 'none'
    dropout: bool = True
    cuda: bool = False
    channel_last: bool = False
    task_taps: dict[str, nn.Variable] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.recompute not in RECOMPUTE_POLICIES:
            raise ValueError(
                f'unknown recompute policy {self.recompute!r}; '
                f'there are {", ".join(RECOMPUTE_POLICIES)}'
            )

    @property
    def channel_axis(self) -> int:
        """The axis of a feature map that counts channels."""
        return 3 if self.channel_last else 1

    @property
    def synchronizes(self) -> bool:
        """Whether batch norms exchange statistics with other processes."""
        return self.train and self.communicator is not None and self.communicator.size > 1

    def is_frozen(self, name: str) -> bool:
        """Return whether the parameter ``name`` of the current scope is frozen."""
        return matches('/'.join([*_path, name]), self.frozen)

    def parameter(
        self, name: str, shape: tuple[int, ...], initializer: Initializer, trainable: bool = True
    ) -> nn.Variable:
        """Return a parameter of the current scope, created if it does not exist.

        Args:
            name: Name within the scope.
            shape: Shape of a new parameter.
            initializer: Initial values of a new parameter.
            trainable: Whether the parameter gets a gradient, unless it is frozen.
        """
        return get_parameter_or_create(
            name, shape, initializer, trainable, trainable and not self.is_frozen(name)
        )


class ShapeOnlyBuild(Build):
    """A build whose parameters have shapes but no values."""

    def parameter(
        self, name: str, shape: tuple[int, ...], initializer: Initializer, trainable: bool = True
    ) -> nn.Variable:
        """Return a parameter of the current scope, created without values if it does not exist.

        Args:
            name: Name within the scope.
            shape: Shape of a new parameter.
            initializer: Not used.
            trainable: Whether a new parameter counts as trainable.
        """
        known = get_parameter(name)
        if known is None:
            known = nn.Variable(shape, need_grad=trainable)
            set_parameter(name, known)
        return known


@contextmanager
def scope(name: str) -> Iterator[None]:
    """Prefix the names of the parameters created inside with ``name/``."""
    _path.append(name)
    try:
        with nn.parameter_scope(name):
            yield
    finally:
        _path.pop()


def recompute_if(condition: bool) -> AbstractContextManager[None]:
    """Return a context that marks outputs for recomputation if ``condition`` holds."""
    return nn.recompute(True) if condition else nullcontext()


def float_context(context: nn.Context | None = None) -> nn.Context:
    """Return ``context``, by default the current one, without its half-precision backends."""
    context = context or nn.get_current_context()
    backend = [part for part in context.backend if part.endswith(':float')]
    return nn.Context(backend, context.array_class, context.device_id)


def on_gpu() -> bool:
    """Return whether NNabla's current context is a GPU."""
    return any(
        backend.startswith(('cudnn', 'cuda')) for backend in nn.get_current_context().backend
    )
