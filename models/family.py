"""A family of networks: a function that builds the graph, a table of variants, and facts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

# How most networks want their input: the statistics of ImageNet's images.
IMAGENET = {
    'mean': (123.675, 116.28, 103.53),
    'std': (58.395, 57.12, 57.375),
    'channel_order': 'rgb',
}


@dataclass(frozen=True)
class NetworkInfo:
    """Facts about a network that its surroundings need.

    mean, std: of the input's channels, on the scale 0 to 255, in ``channel_order``.
    size_divisor, smallest_size: height and width are multiples of the one, and at least the other,
        in pixels.
    """

    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channel_order: str
    size_divisor: int
    smallest_size: int
    paper: str


@dataclass(frozen=True)
class Family:
    """Networks that share a graph function.

    graph: ``graph(x, build, **hyper)`` returns the list of logits, the main ones first.
    keys: hyper-parameters that a config may set, each with its type: ``int``, ``bool``,
        ``[int]`` or ``[float]``.
    variants: network name -> hyper-parameters; those that it lacks must be given.
    complete: fills defaults in and checks; raises ``ValueError('<key>: <problem>')``.
    info: hyper-parameters -> :class:`NetworkInfo`.
    momentum_form: of the original's solver, ``nnabla`` or ``pytorch``; see
        :class:`engine.training.optimizer.Optimizer`.
    """

    name: str
    graph: Callable
    keys: Mapping
    variants: Mapping
    complete: Callable
    info: Callable
    momentum_form: str = 'pytorch'
