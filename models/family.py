"""A family of networks: a function that builds the graph, a table of variants, and facts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from common.sections import Section, config_key

# How most networks want their input: the statistics of ImageNet's images.
IMAGENET = {
    'mean': (123.675, 116.28, 103.53),
    'std': (58.395, 57.12, 57.375),
    'channel_order': 'rgb',
}


@dataclass(frozen=True, kw_only=True)
class NetworkKeys(Section):
    """Which network a config is of, and what holds for networks of every family."""

    network: str = config_key('d3net', 'name of the network; `python -m models` lists them')
    num_classes: int | None = config_key(
        None,
        'number of classes; 255 marks pixels to be ignored',
        least=1,
        most=255,
        default_text="the reference network's",
    )
    mean: tuple[float, float, float] | None = config_key(
        None,
        'mean of the input, 0 to 255, by channel_order',
        default_text="the weights', else the family's",
    )
    std: tuple[float, float, float] | None = config_key(
        None,
        'deviation of the input, 0 to 255, by channel_order',
        above=0,
        default_text="the weights', else the family's",
    )
    channel_order: str | None = config_key(
        None,
        'order of the input channels',
        choices=('rgb', 'bgr'),
        default_text="the weights', else the family's",
    )
    weights: str | None = config_key(
        None, 'what infer.py, evaluate.py and engine.export load: a file, or a published name'
    )
    pretrained: str | None = config_key(
        None, 'what train.py starts from: a file, or a published name', default_text='random values'
    )


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
    keys: the section of the hyper-parameters that a config may set.
    variants: network name -> hyper-parameters; those that it lacks must be given.
    complete: fills defaults in and checks; raises ``ValueError('<key>: <problem>')``.
    info: hyper-parameters -> :class:`NetworkInfo`.
    momentum_form: of the original's solver, ``nnabla`` or ``pytorch``; see
        :class:`engine.training.optimizer.Optimizer`.
    """

    name: str
    graph: Callable
    keys: type[Section]
    variants: Mapping
    complete: Callable
    info: Callable
    momentum_form: str = 'pytorch'
