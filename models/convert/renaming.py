"""Which arrays of a checkpoint are a network's: prefixes, tables of names, shapes.

All names here are the references', with dots; those of NNabla follow from them.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TypeAlias

import nnabla as nn

from layers.build import ShapeOnlyBuild
from models import registry
from models.complexity import nearest_size
from models.convert import COUNTERS, reference_name
from models.convert.tensors import Tensor
from models.errors import ModelError

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]  # by the arrays' names

# Where checkpoints keep the arrays of the network, the first that is there.
STATE_KEYS = (
    'state_dict',
    'model_state',
    'model_state_dict',
    'model',
    'net',
    'network',
    'params',
    'weights',
    'ema',
    'state_dict_ema',
    'model_ema',
)
DEEPEST = 3  # levels of dictionaries above these
WRAPPERS = re.compile(r'(?:(?:module|model|net|network|_orig_mod|ema)\.)+')
PREFIXES = ('', 'backbone.', 'encoder.', 'decoder.', 'encoder.features.', 'backbone.backbone.')
LOSS = re.compile(r'(?:.*\.)?(?:loss|criterion)\w*\.')
# What a file of an encoder alone holds besides.
CLASSIFIER = re.compile(
    r'(?:fc|linear|classifier|head\.fc|conv_head|bn2|features\.18|down5|last_layer)\.'
)


def states(tree: object) -> list[tuple[str, dict[str, Tensor]]]:
    """The groups of tensors in a checkpoint, each with the keys that lead to it, the network's
    first; raises ``ModelError`` when there is none.
    """
    found = list(_groups(tree, (), set()))
    if not found:
        raise ModelError('it holds no tensors by name, so no state_dict')
    if not all(name.isprintable() for keys, group in found for name in (*keys, *group)):
        raise ModelError('names in it are not printable')
    most = max(len(group) for _, group in found)

    def rank(item: tuple[tuple[str, ...], dict[str, Tensor]]) -> tuple[bool, bool, int, int]:
        keys, group = item
        known = keys[-1] in STATE_KEYS if keys else True
        place = STATE_KEYS.index(keys[-1]) if keys and known else -1
        return (2 * len(group) < most, not known, place, -len(group))

    return [('.'.join(keys), group) for keys, group in sorted(found, key=rank)]


def _groups(
    tree: object, keys: tuple[str, ...], seen: set[int]
) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
    if not isinstance(tree, Mapping) or id(tree) in seen or len(keys) > DEEPEST:
        return
    seen.add(id(tree))  # a pickle may hold a dictionary many times, within itself too
    group = {k: v for k, v in tree.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if group:
        yield keys, group
    for key, value in tree.items():
        if isinstance(key, str) and not key.startswith('optim'):
            yield from _groups(value, (*keys, key), seen)


def parameters(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Shapes of what may be parameters: without counters and what belongs to a loss."""
    return {
        key: tensor.shape
        for key, tensor in state.items()
        if key.rpartition('.')[2] not in COUNTERS and not LOSS.match(key)
    }


@dataclass
class Fit:
    """What of a network is in checkpoints.

    sources: name -> (number of the file, its key), of the same shape. misshapen: the same, of
    another shape. extra: (number of the file, key, key without wrappers) of what is not in the
    network. missing: names that are not in the files. twice: keys whose name another key has, too.
    """

    sources: dict[str, tuple[int, str]] = field(default_factory=dict)
    misshapen: dict[str, tuple[int, str]] = field(default_factory=dict)
    extra: list[tuple[int, str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left over on either side."""
        return not self.faults

    @property
    def faults(self) -> int:
        """How much is left over on both sides."""
        parts = self.misshapen, self.extra, self.missing, self.twice
        return sum(map(len, parts))


def fit(files: Sequence[Shapes], network: Shapes) -> Fit:
    """What of a network, given by its shapes, is in files, given by those of :func:`parameters`.

    Each file's names are taken as they are, without what wraps them, with one prefix less or one
    more, and by the table of torchvision's names: in the way that fits best.
    """
    result = Fit()
    for number, shapes in enumerate(files):
        renamed = _renamed(shapes, network)
        for key, shape in shapes.items():
            name = renamed[key]
            if name not in network:
                result.extra.append((number, key, _without_wrappers(key)))
                continue
            if name in result.sources or name in result.misshapen:
                result.twice.append(key)
                continue
            target = result.sources if shape == network[name] else result.misshapen
            target[name] = number, key
    known = result.sources.keys() | result.misshapen.keys()
    result.missing = [name for name in network if name not in known]
    return result


def _renamed(shapes: Shapes, network: Shapes) -> dict[str, str]:
    bare = {key: _without_wrappers(key) for key in shapes}
    starts = {name[: len(prefix)] for name in network for prefix in PREFIXES}
    best, most = bare, -1
    tables = [table for original in registry.originals() for table in original.renamings]
    for table in ((), *tables):
        plain = {key: _by_table(name, table) for key, name in bare.items()}
        if table and plain == bare:
            continue
        for less in PREFIXES:
            if less and not any(name.startswith(less) for name in plain.values()):
                continue
            for more in filter(starts.__contains__, PREFIXES):
                names = {key: more + name.removeprefix(less) for key, name in plain.items()}
                fitting = sum(
                    2 * (network.get(name) == shapes[key]) + (name in network)
                    for key, name in names.items()
                )
                if fitting > most:
                    best, most = names, fitting
    return best


def _without_wrappers(key: str) -> str:
    found = WRAPPERS.match(key)
    return key[found.end() :] if found else key


def _by_table(name: str, table: Iterable[tuple[str, str | Callable[[re.Match[str]], str]]]) -> str:
    for pattern, replacement in table:
        name = re.sub(pattern, replacement, name)
    return name


def register(network: registry.Network) -> None:
    """Register a network's parameters in the current scope, without initial values."""
    size = nearest_size(network.info, (1, 1))
    network.family.graph(nn.Variable((1, 3, *size)), ShapeOnlyBuild(), **network.hyper)


@cache
def network_shapes(name: str, num_classes: int | None = None) -> dict[str, tuple[int, ...]]:
    """The shapes of a network's parameters by the reference's names, as PyTorch has them; raises
    ``ModelError``.
    """
    network = registry.create(
        name, **({} if num_classes is None else dict(num_classes=num_classes))
    )
    with nn.parameter_scope('', {}):
        register(network)
        own = {n: p.shape for n, p in nn.get_parameters(grad_only=False).items()}
    return {reference_name(n): s[1:2] if '/bn/' in n else s for n, s in own.items()}


def is_encoder_of(name: str, found: Fit) -> bool:
    """Whether the files hold the encoder of a network, all of it, and at most a classifier."""
    original = registry.family_of(name).original
    return (
        original is not None
        and not found.misshapen
        and not found.twice
        and bool(found.sources)
        and all(original.encoder.match(n) for n in found.sources)
        and not any(original.encoder.match(n) for n in found.missing)
        and all(CLASSIFIER.match(bare) for _, _, bare in found.extra)
    )
