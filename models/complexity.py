"""What a network costs: multiply-accumulates, parameters, memory of activations, receptive field.

    measured = measure(models.create('ddrnet23_slim'), (1024, 2048))
    measured.gmacs, measured.parameters, measured.peak_bytes

The network is built with parameters that have shapes and no values, and apart from NNabla's
registered parameters, so that this takes a fraction of a second and little memory at any size.
"""

import re
from collections import OrderedDict
from dataclasses import dataclass, replace

import nnabla as nn

from d3net import graph
from d3net.build import Outline
from d3net.receptive_field import pools_globally, receptive_field
from models.family import Info
from models.registry import Network

# Scopes that hold whole parts of a network; a stage is what is named inside.
_CONTAINERS = 'backbone|blocks|encoder|features|decoders/0|decoder|decode_head|auxiliary_head'
_STAGE = re.compile(f'(?:(?:{_CONTAINERS})/)*[^/]+')


@dataclass(frozen=True)
class Stage:
    """A part of a network, named by the scope of its parameters, at one input size.

    runs: at inference; heads that only training needs do not, and cost nothing.
    multiply_accumulates: of its convolutions. parameters: trainable ones. activation_bytes: all
        that its functions put out, in float32.
    receptive_field: (height, width) in pixels of the image, the largest that its layers and their
        sums have; paths through global poolings do not count, and it is (0, 0) where there are no
        others. sees_all: whether there are paths through global poolings.
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
    """The same of a whole network for one image; receptive field and all that of the main logits.

    size: (height, width) of the image. peak_bytes: the most that is alive at once, see
        :func:`d3net.graph.peak_bytes`; neither image nor parameters are counted.
    """

    size: tuple[int, int]
    peak_bytes: int
    stages: tuple[Stage, ...]


@dataclass(frozen=True)
class Outlined:
    """A graph without values. parameters: by name, those of heads that do not run among them."""

    image: nn.Variable
    outputs: list
    parameters: dict


def outline(network: Network, size: tuple[int, int], aux: bool = False) -> Outlined:
    """The evaluation graph of a network on one image of ``size = (height, width)``, in the form for
    the CPU. Raises ``ModelError`` for a size that the network cannot take.
    """

    def build_graph(x, build, **hyper):
        return network.family.graph(x, Outline(**vars(build)), **hyper)

    without_values = replace(network, family=replace(network.family, graph=build_graph))
    image = nn.Variable((1, 3, *size))
    with nn.parameter_scope('', scope=OrderedDict()):
        outputs = without_values(image, aux=aux, cuda=False)
        return Outlined(image, outputs, nn.get_parameters(grad_only=False))


def count(network: Network, size: tuple[int, int], aux: bool = False) -> tuple[int, int]:
    """Multiply-accumulates and trainable parameters, in less time than :func:`measure`."""
    outlined = outline(network, size, aux)
    work = sum(map(graph.multiply_accumulates, graph.functions(*outlined.outputs)))
    return work, _trainable(outlined.parameters.values())


def measure(network: Network, size: tuple[int, int], aux: bool = False) -> Complexity:
    """All of a network and of its stages, in the order in which they are built.

    aux: as if the auxiliary heads ran at inference.
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
    return Complexity(**facts, size=tuple(size), peak_bytes=peak, stages=stages)


def nearest_size(info: Info, size: tuple[int, int]) -> tuple[int, int]:
    """The size nearest to ``size`` that a network can take; of two the larger."""
    step = info.size_divisor
    least = -(-info.smallest_size // step) * step
    return tuple(max(least, (2 * length + step) // (2 * step) * step) for length in size)


def _stage(name, order, parameters, image) -> Stage:
    order = list(order)
    seen = _deepest(order)
    fields = [receptive_field(variable, image, through_global=False) for variable in seen]
    return Stage(
        name=name,
        runs=bool(order),
        multiply_accumulates=sum(map(graph.multiply_accumulates, order)),
        parameters=_trainable(parameters),
        activation_bytes=sum(map(graph.output_bytes, order)),
        receptive_field=tuple(map(max, zip(*fields))) if fields else (0, 0),
        sees_all=any(pools_globally(variable, image) for variable in seen),
    )


def _deepest(order) -> list[nn.Variable]:
    """What the last layer puts out, and the last sum or product of maps that both are the stage's.

    A sum with another stage's map shows the field of that one.
    """
    made = {output for function in order for output in function.outputs}
    layers = [f for f in order if f.info.type_name in graph.WITH_PARAMETERS]
    sums = [f for f in order if f.info.type_name in ('Add2', 'Mul2') and made.issuperset(f.inputs)]
    return [functions[-1].outputs[0] for functions in (layers, sums) if functions]


def _trainable(parameters) -> int:
    return sum(parameter.size for parameter in parameters if parameter.need_grad)


def _stages(order, parameters) -> dict:
    """Functions and parameters of each stage, by name.

    Stages are the scopes that have convolutions. A function belongs to that of its parameters, and
    where there is none to that of its input, of several the one computed last; a parameter, to the
    stage of the function that takes it.
    """
    names = {variable: name for name, variable in parameters.items()}
    own = {function: [] for function in order}
    for function in order:
        for variable in function.inputs[len(graph.data_inputs(function)) :]:
            while variable.parent:  # a weight may be reshaped first
                variable = variable.parent.inputs[0]
            own[function].append(variable)
    convolutions = {_STAGE.match(n)[0]: None for n in names.values() if n.endswith('conv/W')}
    members = {name: ([], []) for name in convolutions}
    stage_of, position, taken = {}, {}, set()
    for i, function in enumerate(order):
        named = _STAGE.match(names[own[function][0]])[0] if own[function] else None
        inputs = [v for v in graph.data_inputs(function) if v in stage_of]
        if named in members:
            stage = named
        elif inputs:
            stage = stage_of[max(inputs, key=position.get)]
        else:
            stage = next(iter(members))
        for output in function.outputs:
            stage_of[output], position[output] = stage, i
        members[stage][0].append(function)
        members[stage][1].extend(own[function])
        taken.update(own[function])
    for variable, name in names.items():
        if variable not in taken:
            members[_STAGE.match(name)[0]][1].append(variable)
    return members
