"""Registry of the network families, and :class:`Network`, which builds their graphs."""

import difflib
from collections.abc import Mapping, ValuesView
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import nnabla as nn

from common.patterns import matches
from common.sections import SectionError, keys_of
from common.tasks import PICTURE_CHANNELS, TaskKeys
from common.terminal.short_repr import short_repr, short_text
from layers import functions as L
from layers import recompute
from layers.workspace import NNABLA_LOCK
from models.errors import HyperParameterError, ModelError
from models.family import IMAGENET, Family, Hyper, NetworkInfo, NetworkKeys, Original, Statistics
from models.structure import check_takes_tasks, task_values

_families: dict[str, Family] = {}
_statistics: dict[str, Statistics] = {'imagenet': IMAGENET}
FAMILIES: ValuesView[Family] = _families.values()
# Input statistics by the names that --input-statistics takes.
STATISTICS: Mapping[str, Statistics] = MappingProxyType(_statistics)


@dataclass(frozen=True)
class Network:
    """A network with its hyper-parameters; call it on a Variable to build its graph.

    Graphs share parameters by name.

    Attributes:
        name: Name for :func:`create`.
        family: Family of the network.
        hyper: All hyper-parameters.
        info: Facts about the network.
    """

    name: str
    family: Family
    hyper: Hyper
    info: NetworkInfo

    def __call__(
        self, x: nn.Variable, *, aux: bool = False, train: bool = False, **options: Any
    ) -> list[nn.Variable]:
        """Build the graph.

        Args:
            x: (N, 3, H, W) float32, normalised; with k inputs (N, 3k, H, W), the pictures of a
                scene stacked over channels.
            aux: Whether an evaluation graph returns the auxiliary logits too.
            train: Whether to build the training graph: batch norms use the statistics of the batch,
                and the auxiliary logits are returned.
            **options: Further fields of :class:`layers.build.Build`. By default ``cuda`` is
                set if the current context is a GPU.

        Returns:
            Logits ``[main, aux...]``, each (N, num_classes, h, w). A network with several tasks
            returns in the place of ``main`` one Variable for each of ``info.tasks``, (N, channels,
            h, w): logits, or metres of a depth task.

        Raises:
            ModelError: The network does not accept the size or the number of pictures, or cannot be
                trained on the batch, or the graph's outputs are not those of ``info``.
        """
        channels, height, width = x.shape[1:]
        if channels != PICTURE_CHANNELS * self.info.inputs:
            raise ModelError(
                f'{self.name} takes {PICTURE_CHANNELS * self.info.inputs} channels, 3 for each of '
                f'its pictures ({self.info.inputs}), not {channels}'
            )
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
        with NNABLA_LOCK:  # the scopes of the layers are global
            build = L.Build(train=train, **{'cuda': L.on_gpu(), **options})
            try:
                outputs = self.family.graph(L.to_layout(x, build), build, **self.hyper)
            except L.TooFewValues as error:
                raise ModelError(f'{self.name}, {height}x{width} pixels: {error}') from error
            if build.recompute != 'none':
                recompute.keep_inputs_of_spurious_readers(*outputs)
            outputs = outputs if aux or train else outputs[: len(self.info.tasks)]
            self._check_channels([L.channels_of(output, build) for output in outputs])
            return [L.from_layout(output, build) for output in outputs]

    def _check_channels(self, found: list[int]) -> None:
        """Raise ``ModelError`` if the graph's channels are not those of ``info``."""
        expected = [task.channels for task in self.info.tasks]
        if len(found) < len(expected):
            raise ModelError(
                f'{self.name}: its graph returns {len(found)} outputs, but its NetworkInfo has '
                f'{len(expected)} tasks; return one output for each'
            )
        expected += [self.info.num_classes] * (len(found) - len(expected))
        for count, channels in zip(found, expected):
            if count != channels:  # a class map may not hold the others
                raise ModelError(
                    f'{self.name}: its graph returns logits of {count} classes, but its '
                    f'NetworkInfo says {channels}; make them equal'
                )


def register(family: Family) -> None:
    """Register a family: its networks can be created and its published files found by name.

    Args:
        family: The family to register.

    Raises:
        ModelError: A name of the family is taken, the family has no network, or one has more
            classes than a class map can hold.
    """
    if not family.variants:
        raise ModelError(f'the family {family.name} has no network: variants is empty')
    for name, hyper in family.variants.items():
        try:
            NetworkKeys.of({'num_classes': hyper.get('num_classes')})
        except SectionError as error:
            raise ModelError(f'the network {name}: {error}') from error
    for other in FAMILIES:
        for kind, taken in _unique_names(other).items():
            for name in _unique_names(family)[kind]:
                if name in taken:
                    raise ModelError(
                        f'a {kind} called {name} is registered already, by the family {other.name}'
                    )
    _families[family.name] = family
    if family.original is not None:
        _statistics.update(family.original.statistics)


def names(*patterns: str) -> list[str]:
    """Return the names of networks, for :func:`create`, in the order of registration.

    Args:
        *patterns: Names in which ``*`` stands for any text, such as ``csail_*``; a name is
            returned if it matches any of them. Case matters. Without patterns all names are
            returned.

    Raises:
        ModelError: A pattern is no text.
    """
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise ModelError(
                f"a pattern of names is a text, such as 'csail_*', not {short_repr(pattern)}; "
                "names('csail_*', 'd3net_*') takes several"
            )
    known = [name for family in FAMILIES for name in family.variants]
    return [name for name in known if matches(name, patterns)] if patterns else known


def family_of(name: str) -> Family:
    """Return the family of a network.

    Args:
        name: Name of the network.

    Returns:
        The registered family with that network.

    Raises:
        ModelError: No family has it. The message lists up to three names, first those with similar
            spelling, then those that contain ``name``; without any, one network of each family.
    """
    for family in FAMILIES:
        if isinstance(name, str) and name in family.variants:  # a config may contain a list
            return family
    text, known = short_text(name).lower(), names()
    nearest = difflib.get_close_matches(text, known, n=3, cutoff=0.6)
    nearest += [other for other in known if text and text in other and other not in nearest]
    if nearest:
        raise ModelError(
            f'no network is called {short_repr(name)}; the nearest are {", ".join(nearest[:3])}'
        )
    examples = ', '.join(next(iter(family.variants)) for family in FAMILIES)
    raise ModelError(
        f'no network is called {short_repr(name)}; python -m models lists all, such as {examples}'
    )


def originals() -> list[Original]:
    """Return the :class:`Original` of each family that has one."""
    return [family.original for family in FAMILIES if family.original is not None]


def create(network: str | Mapping[str, Any], **overrides: Any) -> Network:
    """Create a network by name or from a config.

    ``create('d3net_s', num_classes=11)`` changes a variant. ``create('d3net', ...)`` needs every
    hyper-parameter without a default. ``create(config)`` reads the key ``network``, the
    hyper-parameters of that network, ``mean``, ``std`` and ``channel_order`` of the mapping.

    Args:
        network: Name of the network, or a loaded config.
        **overrides: Hyper-parameters by the published keys.

    Returns:
        The network.

    Raises:
        ModelError: There is no such network.
        HyperParameterError: A hyper-parameter is unknown, missing or invalid.
    """
    return Network(*_resolved(network, overrides))


def describe(network: str | Mapping[str, Any], **overrides: Any) -> NetworkInfo:
    """Return the facts of the network that :func:`create` would return; raise the same errors."""
    return _resolved(network, overrides)[-1]


def _resolved(
    network: str | Mapping[str, Any], overrides: Mapping[str, Any]
) -> tuple[str, Family, Hyper, NetworkInfo]:
    """Return name, family, hyper-parameters and facts of a network."""
    config: Mapping[str, Any] = {'network': network} if isinstance(network, str) else network
    try:
        keys = NetworkKeys.of(config)
        family = family_of(keys.network)
        able = (other.name for other in FAMILIES if issubclass(other.keys, TaskKeys))
        check_takes_tasks({**config, **overrides}, keys.network, family.keys, able)
        _check_names(overrides, keys.network, family)
        given = {key: value for key, value in config.items() if value is not None}
        hyper = _checked_hyper(family, keys.network, {**given, **overrides})
        info = family.info(hyper)
    except SectionError as error:
        raise HyperParameterError(', '.join(error.keys), error.problem) from error
    statistics = {
        name: value
        for name in ('mean', 'std', 'channel_order')
        if (value := getattr(keys, name)) is not None
    }
    return keys.network, family, hyper, replace(info, **statistics)


def _checked_hyper(family: Family, name: str, values: Mapping[str, Any]) -> Hyper:
    """Return all hyper-parameters of a network after checking them.

    Args:
        family: Family of the network.
        name: Name of the network.
        values: Keys of a config; those of other sections are ignored.

    Returns:
        The hyper-parameters by name.

    Raises:
        SectionError: A hyper-parameter is missing or invalid.
    """
    variant = family.variants[name]
    own = keys_of(family.keys)
    given = {key: value for key, value in values.items() if key in own or key == 'num_classes'}
    values = {**variant, **given}
    section, count = family.keys.of(values), NetworkKeys.of(values).num_classes
    hyper = {key: value for key, value in variant.items() if key not in (*own, 'num_classes')}
    chosen = {key: getattr(section, key) for key in own} | {'num_classes': count}
    chosen |= task_values(section, values, given.get('num_classes'))
    hyper |= {key: value for key, value in chosen.items() if value is not None}
    if 'num_classes' not in hyper:
        raise SectionError(
            'num_classes', 'must be given; in a config, classes or dataset do as well'
        )
    return family.complete(hyper)


def _check_names(overrides: Mapping[str, Any], network: str, family: Family) -> None:
    """Raise ``SectionError`` for a name that is not a hyper-parameter of the family."""
    known = [*keys_of(family.keys), 'num_classes']
    for key in overrides:
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1)
            raise SectionError(
                key,
                f'{network} has no such hyper-parameter'
                + (f'; did you mean {nearest[0]}?' if nearest else ''),
            )


def _unique_names(family: Family) -> dict[str, list[str]]:
    """Return the names that must be unique among all families, by kind."""
    original = family.original
    return {
        'family': [family.name],
        'network': list(family.variants),
        'published file': [published.file for published in family.published],
        'kind of input': [] if original is None else list(original.statistics),
    }
