"""The table of networks, and the small object through which all of them are used."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from common.sections import keys_of
from layers import functions as L
from layers import recompute
from models import csail, d3net_family, dabnet, ddrnet, edgeailite
from models.errors import HyperParameterError, ModelError
from models.family import Family, NetworkInfo, NetworkKeys

FAMILIES = (csail.FAMILY, d3net_family.FAMILY, dabnet.FAMILY, ddrnet.FAMILY, edgeailite.FAMILY)


@dataclass(frozen=True)
class Network:
    """A network as created: call it on a Variable to build its graph; parameters are shared by
    name.
    """

    name: str
    family: Family
    hyper: Mapping
    info: NetworkInfo

    def __call__(self, x, *, aux: bool = False, train: bool = False, **build) -> list:
        """Build the graph on ``x`` (N, 3, H, W), normalised float32; returns logits ``[main,
        aux...]``.

        train: batch statistics, and the auxiliary heads are returned. aux: return them from an
            evaluation graph too.
        build: further fields of :class:`layers.build.Build`; ``cuda`` is by default whether the
            current context is a GPU. Raises ``ModelError`` for a size that the
            network cannot take, and for a batch that it cannot be trained on.
        """
        height, width = x.shape[2:]
        if (
            min(height, width) < self.info.smallest_size
            or height % self.info.size_divisor
            or width % self.info.size_divisor
        ):
            divisor = self.info.size_divisor
            multiples = f'multiples of {divisor}, ' if divisor > 1 else ''
            raise ModelError(
                f'{self.name} cannot take {height}x{width} pixels: height and width must be '
                f'{multiples}at least {self.info.smallest_size}'
            )
        build = L.Build(train=train, **{'cuda': L.on_gpu(), **build})
        try:
            outputs = self.family.graph(L.to_layout(x, build), build, **self.hyper)
        except L.TooFewValues as error:
            raise ModelError(f'{self.name}, {height}x{width} pixels: {error}') from error
        if build.recompute != 'none':
            recompute.keep_touched(*outputs)
        outputs = outputs if aux or train else outputs[:1]
        return [L.from_layout(output, build) for output in outputs]


def names() -> list[str]:
    """Every network name that :func:`create` takes."""
    return [name for family in FAMILIES for name in family.variants]


def family_of(name: str) -> Family:
    """The family that has the network ``name``; ``ModelError`` with the nearest names when none
    has: such as are written like it, such as contain it, or else one of each family.
    """
    for family in FAMILIES:
        if name in family.variants:
            return family
    text, known = str(name).lower(), names()
    nearest = difflib.get_close_matches(text, known, n=3, cutoff=0.6)
    nearest += [other for other in known if text and text in other and other not in nearest]
    if nearest:
        raise ModelError(f'no network is called {name!r}; the nearest are {", ".join(nearest[:3])}')
    examples = ', '.join(next(iter(family.variants)) for family in FAMILIES)
    raise ModelError(f'no network is called {name!r}; there are {examples} and others like them')


def create(network: str | Mapping, **overrides) -> Network:
    """A network by name, with hyper-parameters by the published keys, or from a loaded config.

    ``create('d3net_s', num_classes=11)`` changes a variant, ``create('d3net', ...)`` takes all
    hyper-parameters, and ``create(config)`` takes from the mapping those of the network that its
    key ``network`` names, and its ``mean``, ``std`` and ``channel_order``. Raises ``ModelError``,
    ``HyperParameterError`` when it is a key that is wrong.
    """
    return Network(*_resolved(network, overrides))


def describe(network: str | Mapping, **overrides) -> NetworkInfo:
    """Return the facts of a network that :func:`create` would make; raises what that does."""
    return _resolved(network, overrides)[-1]


def _resolved(
    network: str | Mapping, overrides: Mapping
) -> tuple[str, Family, Mapping, NetworkInfo]:
    """Return the name, the family, the hyper-parameters and the facts of a network."""
    config = {} if isinstance(network, str) else {k: v for k, v in network.items() if v is not None}
    keys = NetworkKeys.of({'network': network} if isinstance(network, str) else config)
    family = family_of(keys.network)
    known = [*keys_of(family.keys), 'num_classes']
    for key in overrides:
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1)
            raise HyperParameterError(
                key,
                f'{keys.network} has no such hyper-parameter'
                + (f'; did you mean {nearest[0]}?' if nearest else ''),
            )
    given = {key: config[key] for key in known if key in config} | overrides
    try:
        hyper = family.complete({**family.variants.get(keys.network, {}), **given})
    except ValueError as error:
        raise HyperParameterError(*str(error).split(': ', 1)) from error
    statistics = {
        name: value
        for name in ('mean', 'std', 'channel_order')
        if (value := getattr(keys, name)) is not None
    }
    return keys.network, family, hyper, replace(family.info(hyper), **statistics)
