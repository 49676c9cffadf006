"""Measure a network and its stages from the shapes of its graph.

The graph is built with parameters that have shapes and no values, and that NNabla does not
register, so that measuring takes a fraction of a second and little memory at any size of the image.
"""

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import nnabla as nn
from nnabla.function import Function

from layers import graph
from layers.build import Build, ShapeOnlyBuild
from models.complexity.receptive_field import pools_globally, receptive_field
from models.family import NetworkInfo
from models.registry import Network

# Scopes that hold whole parts of a network; a stage is what is named inside.
_CONTAINERS = 'backbone|blocks|encoder|features|decoders/0|decoder|decode_head|auxiliary_head'
_STAGE = re.compile(f'(?:(?:{_CONTAINERS})/)*[^/]+')


@dataclass(frozen=True)
class Stage:
    """A part of a network, named by the scope of its parameters, at one size of the image.

    Attributes:
        name: The scope.
        runs: Whether it runs at inference; heads that only training needs do not, and cost nothing.
        multiply_accumulates: Those of its convolutions.
        parameters: Number of trainable parameters.
        activation_bytes: Size of the outputs of all its functions in float32.
        receptive_field: Height and width in pixels of the image: the largest field of its last
            layer and its last sum of maps, along paths without a global pooling; (0, 0) where every
            path has one.
        sees_all: Whether a path goes through a global pooling.
    """

    name: str
    runs: bool
    multiply_accumulates: int
    parameters: int
    activation_bytes: int
    receptive_field: tuple[int, int]
    sees_all: bool

    @property
    def gmacs(self) -> float:
        return self.multiply_accumulates / 1e9


@dataclass(frozen=True)
class Complexity(Stage):
    """A whole network for one image; ``receptive_field`` and ``sees_all`` are of the main logits.

    Attributes:
        size: Height and width of the image in pixels.
        peak_bytes: Size of the activations that are alive at the same time, at most, as
            :func:`layers.graph.peak_bytes` counts it; without the image and the parameters.
        stages: Its parts in the order in which they are built.
    """

    size: tuple[int, int]
    peak_bytes: int
    stages: tuple[Stage, ...]


@dataclass(frozen=True)
class Outlined:
    """A graph without values.

    Attributes:
        image: Input of the graph, (1, 3, H, W).
        outputs: Logits, the main ones first.
        parameters: Parameters by name, with those of heads that do not run.
    """

    image: nn.Variable
    outputs: list[nn.Variable]
    parameters: dict[str, nn.Variable]


def outline(network: Network, size: tuple[int, int], aux: bool = False) -> Outlined:
    """Build the evaluation graph of a network, in the form for the CPU, without values.

    Args:
        network: As :func:`models.create` returns it.
        size: Height and width of the image in pixels.
        aux: Whether auxiliary heads are outputs, too.

    Raises:
        ModelError: The network cannot take this size.
    """

    def build_graph(x: nn.Variable, build: Build, **hyper: Any) -> list[nn.Variable]:
        outputs: list[nn.Variable] = network.family.graph(x, ShapeOnlyBuild(**vars(build)), **hyper)
        return outputs

    without_values = replace(network, family=replace(network.family, graph=build_graph))
    image = nn.Variable((1, 3, *size))
    with nn.parameter_scope('', scope=OrderedDict()):
        outputs = without_values(image, aux=aux, cuda=False)
        return Outlined(image, outputs, nn.get_parameters(grad_only=False))


def count(network: Network, size: tuple[int, int], aux: bool = False) -> tuple[int, int]:
    """Return multiply-accumulates and trainable parameters, in less time than :func:`measure`.

    Arguments and errors are those of :func:`measure`.
    """
    outlined = outline(network, size, aux)
    work = sum(map(graph.multiply_accumulates, graph.functions(*outlined.outputs)))
    return work, _trainable(outlined.parameters.values())


def measure(network: Network, size: tuple[int, int], aux: bool = False) -> Complexity:
    """Measure a network and its stages.

    Args:
        network: As :func:`models.create` returns it.
        size: Height and width of the image in pixels.
        aux: Whether auxiliary heads count as if they ran at inference.

    Raises:
        ModelError: The network cannot take this size.
    """
    outlined = outline(network, size, aux)
    order = graph.depending_on(outlined.image, graph.functions(*outlined.outputs))
    members = _stages(order, outlined.parameters)
    total = _stage(network.name, order, outlined.parameters.values(), outlined.image)
    stages = tuple(
        _stage(name, own, parameters, outlined.image) for name, (own, parameters) in members.items()
    )
    main = outlined.outputs[0]
    facts = {
        **vars(total),
        'receptive_field': receptive_field(main, outlined.image, through_global=False),
        'sees_all': pools_globally(main, outlined.image),
    }
    peak = graph.peak_bytes(order, kept=outlined.outputs)
    return Complexity(**facts, size=size, peak_bytes=peak, stages=stages)


def nearest_size(info: NetworkInfo, size: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) nearest to ``size`` that a network can take; of two the larger."""
    step = info.size_divisor
    least = -(-info.smallest_size // step) * step
    height, width = (max(least, (2 * length + step) // (2 * step) * step) for length in size)
    return height, width


def _stage(
    name: str,
    functions: Iterable[Function],
    parameters: Iterable[nn.Variable],
    image: nn.Variable,
) -> Stage:
    order = list(functions)
    seen = _deepest(order)
    fields = [receptive_field(variable, image, through_global=False) for variable in seen]
    return Stage(
        name=name,
        runs=bool(order),
        multiply_accumulates=sum(map(graph.multiply_accumulates, order)),
        parameters=_trainable(parameters),
        activation_bytes=sum(map(graph.output_bytes, order)),
        receptive_field=(
            max((height for height, _ in fields), default=0),
            max((width for _, width in fields), default=0),
        ),
        sees_all=any(pools_globally(variable, image) for variable in seen),
    )


def _deepest(order: Sequence[Function]) -> list[nn.Variable]:
    """Return the output of a stage's last layer, and of its last sum or product of maps.

    Both maps must be the stage's own: a sum with another stage's map has the field of that one.
    """
    made = {output for function in order for output in function.outputs}
    layers = [f for f in order if f.info.type_name in graph.WITH_PARAMETERS]
    sums = [f for f in order if f.info.type_name in ('Add2', 'Mul2') and made.issuperset(f.inputs)]
    return [functions[-1].outputs[0] for functions in (layers, sums) if functions]


def _trainable(parameters: Iterable[nn.Variable]) -> int:
    return sum(parameter.size for parameter in parameters if parameter.need_grad)


def _stages(
    order: Sequence[Function], parameters: Mapping[str, nn.Variable]
) -> dict[str, tuple[list[Function], list[nn.Variable]]]:
    """Return the functions and the parameters of each stage by name.

    Stages are the scopes that have convolutions. A function belongs to the stage of its parameters;
    one without parameters, to the stage of its input, of several inputs the one computed last. A
    parameter belongs to the stage of the function that takes it.
    """
    names = {variable: name for name, variable in parameters.items()}
    own: dict[Function, list[nn.Variable]] = {function: [] for function in order}
    for function in order:
        for variable in function.inputs[len(graph.data_inputs(function)) :]:
            while variable.parent:  # a weight may be reshaped first
                variable = variable.parent.inputs[0]
            own[function].append(variable)
    convolutions = {_stage_of(n): None for n in names.values() if n.endswith('conv/W')}
    members: dict[str, tuple[list[Function], list[nn.Variable]]]
    members = {name: ([], []) for name in convolutions}
    stage_of: dict[nn.Variable, str] = {}
    position: dict[nn.Variable, int] = {}
    taken: set[nn.Variable] = set()
    for i, function in enumerate(order):
        named = _stage_of(names[own[function][0]]) if own[function] else None
        inputs = [v for v in graph.data_inputs(function) if v in stage_of]
        if named in members:
            stage = named
        elif inputs:
            stage = stage_of[max(inputs, key=position.__getitem__)]
        else:
            stage = next(iter(members))
        for output in function.outputs:
            stage_of[output], position[output] = stage, i
        members[stage][0].append(function)
        members[stage][1].extend(own[function])
        taken.update(own[function])
    for variable, name in names.items():
        if variable not in taken:
            members[_stage_of(name)][1].append(variable)
    return members


def _stage_of(name: str) -> str:
    """Return the stage of a parameter by its name."""
    found = _STAGE.match(name)
    assert found is not None  # it takes any name
    return found[0]
