"""Match the arrays of checkpoints with the parameters of a network, by name and shape.

The names in this module are those of the references, with dots; NNabla's names follow from them.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TypeAlias

import nnabla as nn

from common.tasks import PICTURE_CHANNELS
from common.terminal.short_repr import short_text
from layers.build import ShapeOnlyBuild
from layers.workspace import Workspace
from models import registry
from models.complexity import nearest_size
from models.convert import COUNTERS, reference_name
from models.convert.tensors import MAX_TENSORS, Tensor
from models.errors import ModelError
from models.structure import SINGLE, Structure

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]  # name of an array -> its shape
Files: TypeAlias = Sequence[Shapes]  # one mapping from names to shapes for each file

# Keys under which checkpoints store the arrays of the network, in order of preference.
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
MAX_STATE_DEPTH = 3  # levels of dictionaries above the arrays
WRAPPERS = re.compile(r'(?:(?:module|model|net|network|_orig_mod|ema)\.)+')
PREFIXES = ('', 'backbone.', 'encoder.', 'decoder.', 'encoder.features.', 'backbone.backbone.')
LOSS = re.compile(r'(?:.*\.)?(?:loss|criterion)\w*\.')
# Arrays that a file of an ImageNet classifier has besides the encoder's.
CLASSIFIER = re.compile(
    r'(?:fc|linear|classifier|head\.fc|conv_head|bn2|features\.18|down5|last_layer)\.'
)


def states(tree: object) -> list[tuple[str, dict[str, Tensor]]]:
    """Find the groups of named tensors in a checkpoint, that of the network first.

    Groups with fewer than half as many tensors as the largest one come last. Of the larger groups,
    that at the outermost level comes first, then those under ``STATE_KEYS`` in their order, then
    the others.

    Args:
        tree: The object that :func:`models.convert.checkpoints.read` returned.

    Returns:
        Pairs of a group's path, which is its keys joined by dots and shortened, and the group's
        tensors by name.

    Raises:
        ModelError: There is no group, the largest one has more tensors than any network, or a name
            is not printable.
    """
    found = list(_groups(tree, (), set()))
    if not found:
        raise ModelError('it holds no named tensors, so it has no state_dict')
    if not all(name.isprintable() for keys, group in found for name in (*keys, *group)):
        raise ModelError('it has names that are not printable')
    most = max(len(group) for _, group in found)
    if most > MAX_TENSORS:
        raise ModelError(f'it has {most:,} tensors in one dictionary, more than any network')

    def rank(item: tuple[tuple[str, ...], dict[str, Tensor]]) -> tuple[bool, bool, int, int]:
        keys, group = item
        known = keys[-1] in STATE_KEYS if keys else True
        place = STATE_KEYS.index(keys[-1]) if keys and known else -1
        return (2 * len(group) < most, not known, place, -len(group))

    return [(short_text('.'.join(keys)), group) for keys, group in sorted(found, key=rank)]


def _groups(
    tree: object, keys: tuple[str, ...], seen: set[int]
) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
    if not isinstance(tree, Mapping) or id(tree) in seen or len(keys) > MAX_STATE_DEPTH:
        return
    seen.add(id(tree))  # a pickle may hold a dictionary many times, even within itself
    group = {k: v for k, v in tree.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if group:
        yield keys, group
    for key, value in tree.items():
        if isinstance(key, str) and not key.startswith('optim'):
            yield from _groups(value, (*keys, key), seen)


def parameters(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of possible parameters: all tensors but counters and those of a loss."""
    return {
        key: tensor.shape
        for key, tensor in state.items()
        if key.rpartition('.')[2] not in COUNTERS and not LOSS.match(key)
    }


@dataclass
class StateMatch:
    """The result of matching the arrays of checkpoints with the parameters of a network.

    Attributes:
        sources: Parameters found with the right shape, as name -> (index of the file, key in it).
        wrong_shape: Parameters found with another shape, in the form of ``sources``.
        extra: Arrays that are not in the network, as (file index, key, key without wrappers).
        missing: Parameters that no file has.
        duplicates: Keys of parameters that an earlier key has already matched.
    """

    sources: dict[str, tuple[int, str]] = field(default_factory=dict)
    wrong_shape: dict[str, tuple[int, str]] = field(default_factory=dict)
    extra: list[tuple[int, str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether every array matches a parameter and every parameter an array."""
        return not self.mismatch_count

    @property
    def mismatch_count(self) -> int:
        """The number of unmatched arrays and parameters."""
        parts = self.wrong_shape, self.extra, self.missing, self.duplicates
        return sum(map(len, parts))


def match_arrays(files: Files, network: Shapes) -> StateMatch:
    """Match the arrays of one or more files with the parameters of a network.

    The wrappers (``module.``) of a file's names are removed. Then several variants are tried: with
    one prefix removed, one prefix added or both, and renamed by each family's tables, such as that
    of torchvision's names. The variant with the most matches is used.

    Args:
        files: Shapes of the arrays of each file, as :func:`parameters` returns them.
        network: Shapes of the network's parameters by name.
    """
    result = StateMatch()
    for number, shapes in enumerate(files):
        renamed = _renamed(shapes, network)
        for key, shape in shapes.items():
            name = renamed[key]
            if name not in network:
                result.extra.append((number, key, _without_wrappers(key)))
                continue
            if name in result.sources or name in result.wrong_shape:
                result.duplicates.append(key)
                continue
            target = result.sources if shape == network[name] else result.wrong_shape
            target[name] = number, key
    known = result.sources.keys() | result.wrong_shape.keys()
    result.missing = [name for name in network if name not in known]
    return result


def _renamed(shapes: Shapes, network: Shapes) -> dict[str, str]:
    """Map the keys of a file to names of the network, in the variant with the most matches."""
    bare = {key: _without_wrappers(key) for key in shapes}
    starts = {name[: len(prefix)] for name in network for prefix in PREFIXES}
    best, best_score = bare, -1
    tables = [table for original in registry.originals() for table in original.renamings]
    for table in ((), *tables):
        plain = {key: _by_table(name, table) for key, name in bare.items()}
        if table and plain == bare:
            continue
        for removed in PREFIXES:
            if removed and not any(name.startswith(removed) for name in plain.values()):
                continue
            for added in filter(starts.__contains__, PREFIXES):
                names = {key: added + name.removeprefix(removed) for key, name in plain.items()}
                score = sum(
                    2 * (network.get(name) == shapes[key]) + (name in network)
                    for key, name in names.items()
                )
                if score > best_score:
                    best, best_score = names, score
    return best


def _without_wrappers(key: str) -> str:
    found = WRAPPERS.match(key)
    return key[found.end() :] if found else key


def _by_table(name: str, table: Iterable[tuple[str, str | Callable[[re.Match[str]], str]]]) -> str:
    for pattern, replacement in table:
        name = re.sub(pattern, replacement, name)
    return name


def register(network: registry.Network) -> None:
    """Register a network's parameters in the current scope, without drawing initial values."""
    size = nearest_size(network.info, (1, 1))
    image = nn.Variable((1, PICTURE_CHANNELS * network.info.inputs, *size))
    network.family.graph(image, ShapeOnlyBuild(), **network.hyper)


@cache
def network_shapes(
    name: str, num_classes: int | None = None, structure: Structure = SINGLE
) -> dict[str, tuple[int, ...]]:
    """Return the PyTorch shapes of a network's parameters by the reference's names.

    Args:
        name: Name of the network.
        num_classes: Number of classes; None for the network's default.
        structure: Its inputs and tasks; if it has channels, ``num_classes`` is not used.

    Raises:
        ModelError: There is no such network, or it cannot have this number of classes, or these
            inputs and tasks.
    """
    counted = num_classes is not None and not structure.channels
    keywords = dict(num_classes=num_classes) if counted else {}
    network = registry.create(name, **keywords, **structure.keywords())
    return shapes_of(network)


def shapes_of(network: registry.Network) -> dict[str, tuple[int, ...]]:
    """Return the PyTorch shapes of a network's parameters by the reference's names."""
    with Workspace({}).entered():
        register(network)
        own = {n: p.shape for n, p in nn.get_parameters(grad_only=False).items()}
    return {reference_name(n): s[1:2] if '/bn/' in n else s for n, s in own.items()}


def is_encoder_of(name: str, found: StateMatch) -> bool:
    """Return whether files hold a network's whole encoder and nothing else but a classifier."""
    original = registry.family_of(name).original
    return (
        original is not None
        and not found.wrong_shape
        and not found.duplicates
        and bool(found.sources)
        and all(original.encoder.match(n) for n in found.sources)
        and not any(original.encoder.match(n) for n in found.missing)
        and all(CLASSIFIER.match(bare) for _, _, bare in found.extra)
    )
