"""The table of networks, and the small object through which all of them are used.

A family of networks is a function that builds the graph, a table of variants, and the facts that
hold for all of them.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import d3net.network
from d3net import layers as L
from models.errors import HyperParameterError, ModelError


@dataclass(frozen=True)
class Info:
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
    keys: hyper-parameters that a config may set, each with its type: ``int``, ``[int]`` or
        ``[float]``.
    variants: network name -> hyper-parameters; the family's own name stands for one with all of
        them to be given.
    complete: fills defaults in and checks; raises ``ValueError('<key>: <problem>')``.
    info: hyper-parameters -> :class:`Info`.
    """

    name: str
    graph: Callable
    keys: Mapping
    variants: Mapping
    complete: Callable
    info: Callable

    def names(self):
        return [self.name, *self.variants]


def _d3net_info(hyper) -> Info:
    return Info(
        num_classes=hyper['num_classes'],
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
        channel_order='rgb',
        size_divisor=1,
        smallest_size=d3net.network.smallest_size(hyper),
        paper=d3net.network.PAPER,
    )


FAMILIES = (
    Family(
        name='d3net',
        graph=d3net.network.d3net,
        keys={
            'num_init_features': int,
            'num_layers': [int],
            'n_blocks': [int],
            'dens_k': [int],
            'block_comp': [float],
            'intermediate_out_ch': [int],
            'trans_comp_factor': int,
            'dense_n_out_layer_block': [int],
            'channels': int,
        },
        variants={
            name: dict(hyper, num_classes=11 if name == 'd3net_t' else 19)
            for name, hyper in d3net.network.VARIANTS.items()
        },
        complete=d3net.network.complete,
        info=_d3net_info,
    ),
)


@dataclass(frozen=True)
class Network:
    """A network as created: call it on a Variable to build its graph; parameters are shared by
    name.
    """

    name: str
    family: Family
    hyper: Mapping
    info: Info

    def __call__(self, x, *, aux: bool = False, train: bool = False, **build) -> list:
        """Build the graph on ``x`` (N, 3, H, W), normalised float32; returns logits ``[main,
        aux...]``.

        train: batch statistics, and the auxiliary heads are returned. aux: return them from an
            evaluation graph too.
        build: further fields of :class:`d3net.build.Build`; ``cuda`` is by default whether the
            current context is a GPU. Raises ``ModelError`` for a size that the
            network cannot take.
        """
        height, width = x.shape[2:]
        if (
            min(height, width) < self.info.smallest_size
            or height % self.info.size_divisor
            or width % self.info.size_divisor
        ):
            raise ModelError(
                f'{self.name} cannot take {height}x{width} pixels: height and width must be '
                f'multiples of {self.info.size_divisor}, at least {self.info.smallest_size}'
            )
        build = L.Build(train=train, **{'cuda': L.on_gpu(), **build})
        outputs = self.family.graph(L.to_layout(x, build), build, **self.hyper)
        outputs = outputs if aux or train else outputs[:1]
        return [L.from_layout(output, build) for output in outputs]


def names() -> list[str]:
    """Every network name that :func:`create` takes."""
    return [name for family in FAMILIES for name in family.names()]


def family_of(name: str) -> Family:
    """The family that has the network ``name``; ``ModelError`` with the nearest names when none
    has.
    """
    for family in FAMILIES:
        if name in family.names():
            return family
    nearest = difflib.get_close_matches(str(name), names(), n=3, cutoff=0.5) or names()
    raise ModelError(f'no network is called {name!r}; the nearest are {", ".join(nearest)}')


def create(network: str | Mapping, **overrides) -> Network:
    """A network by name, with hyper-parameters by the published keys, or from a loaded config.

    ``create('d3net_s', num_classes=11)`` changes a variant, ``create('d3net', ...)`` takes all
    hyper-parameters, and ``create(config)`` takes from the mapping those of the network that its
    key ``network`` names, and its ``mean`` and ``std``. Raises ``ModelError``,
    ``HyperParameterError`` when it is a key that is wrong.
    """
    config = {} if isinstance(network, str) else {k: v for k, v in network.items() if v is not None}
    name = network if isinstance(network, str) else config.get('network', 'd3net')
    family = family_of(name)
    known = [*family.keys, 'num_classes']
    for key in overrides:
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1)
            raise HyperParameterError(
                key,
                f'{name} has no such hyper-parameter'
                + (f'; did you mean {nearest[0]}?' if nearest else ''),
            )
    given = {key: config[key] for key in known if key in config} | overrides
    try:
        hyper = family.complete({**family.variants.get(name, {}), **given})
    except ValueError as error:
        raise HyperParameterError(*str(error).split(': ', 1)) from error
    statistics = {key: tuple(config[key]) for key in ('mean', 'std') if key in config}
    return Network(name, family, hyper, replace(family.info(hyper), **statistics))
