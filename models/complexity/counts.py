"""Measure the cost of a network and of its stages from the shapes of its graph.

The parameters of this graph have shapes but no values, and NNabla does not register them. So
measuring takes a fraction of a second and little memory at any image size.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import nnabla as nn
from nnabla.function import Function

from common.tasks import PICTURE_CHANNELS
from layers import graph
from layers.build import Build, ShapeOnlyBuild
from layers.workspace import Workspace
from models.complexity.receptive_field import pools_globally, receptive_field
from models.family import NetworkInfo
from models.registry import Network

# Scopes that contain stages: a stage is a scope one level below them.
_CONTAINERS = (
    r'backbone|blocks|encoder|features|stream\d|decoders/\d|decoder|decode_head|auxiliary_head'
)
_STAGE = re.compile(f'(?:(?:{_CONTAINERS})/)*[^/]+')


@dataclass(frozen=True)
class Stage:
    """The cost of one part of a network for one image.

    Attributes:
        name: Scope of its parameters.
        runs: Whether the stage runs at inference. Heads for training only do not: they have
            parameters, but their other costs are 0.
        multiply_accumulates: Number of multiply-accumulates of its convolutions.
        parameters: Number of trainable parameters.
        activation_bytes: Bytes of the outputs of all its functions in float32.
        receptive_field: Height and width in pixels of the image: the larger field of its last layer
            and its last sum or product of maps, along paths without a global pooling; (0, 0) if
            every path has one.
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
        """Multiply-accumulates in units of 10^9."""
        return self.multiply_accumulates / 1e9


@dataclass(frozen=True)
class Complexity(Stage):
    """The cost of a whole network for one image.

    ``receptive_field`` and ``sees_all`` are those of the first task's output.

    Attributes:
        size: Height and width of the image in pixels.
        peak_bytes: Peak activation memory in bytes, as :func:`layers.graph.peak_bytes` counts it,
            without the image and the parameters.
        stages: Stages in the order in which the network builds them.
    """

    size: tuple[int, int]
    peak_bytes: int
    stages: tuple[Stage, ...]


@dataclass(frozen=True)
class ShapeGraph:
    """A graph whose parameters have shapes but no values.

    Attributes:
        image: Input of the graph, (1, 3, H, W), or (1, 3k, H, W) for k pictures of a scene.
        outputs: The outputs of the tasks in their order, then the auxiliary logits.
        parameters: Parameters by name, including those of heads that do not run.
    """

    image: nn.Variable
    outputs: list[nn.Variable]
    parameters: dict[str, nn.Variable]


def shape_graph(network: Network, size: tuple[int, int], aux: bool = False) -> ShapeGraph:
    """Build the evaluation graph of a network for the CPU, without parameter values.

    Args:
        network: A network from :func:`models.create`.
        size: Height and width of the image in pixels.
        aux: Whether the outputs include the auxiliary logits.

    Returns:
        The graph with its input, outputs and parameters.

    Raises:
        ModelError: The network does not accept this size.
    """

    def build_graph(x: nn.Variable, build: Build, **hyper: Any) -> list[nn.Variable]:
        outputs: list[nn.Variable] = network.family.graph(x, ShapeOnlyBuild(**vars(build)), **hyper)
        return outputs

    without_values = replace(network, family=replace(network.family, graph=build_graph))
    image = nn.Variable((1, PICTURE_CHANNELS * network.info.inputs, *size))
    with Workspace({}).entered():
        outputs = without_values(image, aux=aux, cuda=False)
        return ShapeGraph(image, outputs, nn.get_parameters(grad_only=False))


def count_macs_and_parameters(
    network: Network, size: tuple[int, int], aux: bool = False
) -> tuple[int, int]:
    """Count multiply-accumulates and trainable parameters, faster than :func:`measure_network`.

    Args:
        network: A network from :func:`models.create`.
        size: Height and width of the image in pixels.
        aux: Whether auxiliary heads count as if they ran at inference.

    Returns:
        The number of multiply-accumulates of the convolutions, and of trainable parameters.

    Raises:
        ModelError: The network does not accept this size.
    """
    shapes = shape_graph(network, size, aux)
    macs = sum(map(graph.multiply_accumulates, graph.functions(*shapes.outputs)))
    return macs, _count_trainable(shapes.parameters.values())


def measure_network(network: Network, size: tuple[int, int], aux: bool = False) -> Complexity:
    """Measure the cost of a network and of its stages.

    Args:
        network: A network from :func:`models.create`.
        size: Height and width of the image in pixels.
        aux: Whether auxiliary heads count as if they ran at inference.

    Returns:
        The cost of the network, with its stages.

    Raises:
        ModelError: The network does not accept this size.
    """
    shapes = shape_graph(network, size, aux)
    order = graph.depending_on(shapes.image, graph.functions(*shapes.outputs))
    members = _stage_members(order, shapes.parameters)
    total = _measure_stage(network.name, order, shapes.parameters.values(), shapes.image)
    stages = tuple(
        _measure_stage(name, own, parameters, shapes.image)
        for name, (own, parameters) in members.items()
    )
    main = shapes.outputs[0]
    facts = {
        **vars(total),
        'receptive_field': receptive_field(main, shapes.image, through_global=False),
        'sees_all': pools_globally(main, shapes.image),
    }
    peak = graph.peak_bytes(order, kept=shapes.outputs)
    return Complexity(**facts, size=size, peak_bytes=peak, stages=stages)


def nearest_size(info: NetworkInfo, size: tuple[int, int]) -> tuple[int, int]:
    """Return the size nearest to another one that a network accepts.

    Args:
        info: Facts about the network.
        size: Height and width in pixels.

    Returns:
        Height and width in pixels; of two equally near lengths, the larger.
    """
    step = info.size_divisor
    smallest = -(-info.smallest_size // step) * step
    height, width = (max(smallest, (2 * length + step) // (2 * step) * step) for length in size)
    return height, width


def _measure_stage(
    name: str,
    functions: Iterable[Function],
    parameters: Iterable[nn.Variable],
    image: nn.Variable,
) -> Stage:
    """Measure a stage from its functions and parameters."""
    order = list(functions)
    outputs = _last_maps(order)
    fields = [receptive_field(variable, image, through_global=False) for variable in outputs]
    return Stage(
        name=name,
        runs=bool(order),
        multiply_accumulates=sum(map(graph.multiply_accumulates, order)),
        parameters=_count_trainable(parameters),
        activation_bytes=sum(map(graph.output_bytes, order)),
        receptive_field=(
            max((height for height, _ in fields), default=0),
            max((width for _, width in fields), default=0),
        ),
        sees_all=any(pools_globally(variable, image) for variable in outputs),
    )


def _last_maps(order: Sequence[Function]) -> list[nn.Variable]:
    """Return the outputs of a stage's last layer and of its last sum or product of maps.

    A sum or product counts only if the stage computes both maps: the map of another stage would
    bring that stage's receptive field into it.
    """
    made = {output for function in order for output in function.outputs}
    layers = [f for f in order if f.info.type_name in graph.WITH_PARAMETERS]
    sums = [f for f in order if f.info.type_name in ('Add2', 'Mul2') and made.issuperset(f.inputs)]
    return [functions[-1].outputs[0] for functions in (layers, sums) if functions]


def _count_trainable(parameters: Iterable[nn.Variable]) -> int:
    """Return the number of trainable values."""
    return sum(parameter.size for parameter in parameters if parameter.need_grad)


def _stage_members(
    order: Sequence[Function], parameters: Mapping[str, nn.Variable]
) -> dict[str, tuple[list[Function], list[nn.Variable]]]:
    """Return the functions and the parameters of each stage by name.

    Stages are the scopes with convolutions. A function belongs to the stage of its parameters. A
    function without parameters belongs to the stage of its input; if it has several inputs, to that
    of the input computed last. A parameter belongs to the stage of the function that reads it, or,
    if none does, to the stage that its name says.
    """
    names = {variable: name for name, variable in parameters.items()}
    own: dict[Function, list[nn.Variable]] = {function: [] for function in order}
    for function in order:
        for variable in function.inputs[len(graph.data_inputs(function)) :]:
            while variable.parent:  # weights can be reshaped first
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
    """Return the name of the stage that a parameter belongs to, by the parameter's name."""
    found = _STAGE.match(name)
    assert found is not None  # the pattern matches every name
    return found[0]
