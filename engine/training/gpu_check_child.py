"""The process in which functions are compared with the CPU, and which a broken one may end.

It reads a job of :mod:`engine.training.gpu_check` from standard input, announces on standard output
what it is about to do, and says how it went; both are JSON.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TextIO

import nnabla as nn
import nnabla.function_bases as function_bases
import numpy as np
from nnabla.ext_utils import get_extension_context

from engine.device import context
from engine.training.moving_average import Average
from engine.training.optimizer import Optimizer, SolverKeys

FORWARD, BACKWARD, REFERENCE = 'forward', 'backward', 'on the CPU'
WRONG = 'gives wrong numbers'
# By NNabla's names of types, such as BatchNormalization.
FUNCTIONS = {
    name.replace('_', ''): function
    for name, function in vars(function_bases).items()
    if callable(function) and name.islower()
}
RANDOM = ('Dropout', 'Rand', 'Randint', 'Randn')  # they have to run, there is nothing to compare
TOLERANCE = {'float': 1e-3, 'TF32': 1e-2, 'half': 5e-2}  # of the norm of an array
TO_CHANNEL_FIRST, TO_CHANNEL_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
NEGLIGIBLE = 1e-5  # root mean square of an array that may as well be zero


@dataclass(frozen=True)
class Spec:
    """What is to be compared.

    type: NNabla's name of a function, or a key of ``UPDATES``. arguments: the function's; for
    updates, fields of :class:`SolverKeys`. shapes: of the inputs; of the parameters. values: what
    the inputs are like, see :func:`make_input`. gradients: for each input, whether the backward
    pass computes its gradient. half: in half precision. reference: arguments that are others on the
    CPU, which has no channel_last, for example.
    """

    type: str
    arguments: Mapping
    shapes: Sequence[Sequence[int]]
    values: Sequence[str] = ()
    gradients: Sequence[bool] = ()
    half: bool = False
    reference: Mapping = field(default_factory=dict)

    @property
    def is_update(self) -> bool:
        return self.type in UPDATES


def function_of(type_name: str) -> Callable | None:
    """The function of NNabla that makes functions of a type; None where it has none."""
    return FUNCTIONS.get(type_name.lower())


def make_input(
    values: str, shape: Sequence[int], half: bool, rng: np.random.RandomState
) -> np.ndarray:
    """Seeded numbers that half precision holds exactly, so that only computing makes a difference.

    values: ``normal``; ``positive``, away from zero; ``distinct``, no two alike as far as
    the precision goes; ``labels:C``, integers from -1 to C - 1.
    """
    kind, _, classes = values.partition(':')
    if kind == 'labels':
        return rng.randint(-1, int(classes), shape).astype(np.int32)
    if kind == 'distinct':
        prime = 2039 if half else 8388593  # steps that half, and float, tells apart in -4 to 4
        order = np.arange(np.prod(shape, dtype=int)) * 7919 % prime
        return (order * (8 / prime) - 4).astype(np.float32).reshape(shape)
    if kind == 'positive':
        return rng.uniform(0.5, 1.5, shape).astype(np.float16).astype(np.float32)
    return rng.normal(0.5, 1, shape).astype(np.float16).astype(np.float32)


def run_function(
    spec: Spec, ctx: nn.Context, arguments: Mapping, announce: Callable[[str], None]
) -> dict[str, list[np.ndarray]]:
    """What a function computes of seeded inputs: forward, its outputs, and its inputs, some of
    which it updates; backward, the gradients.

    Raises ``RuntimeError`` where NNabla cannot compute it.
    """
    announce(FORWARD)
    rng = np.random.RandomState(0)
    other_layout = spec.arguments.get('channel_last') and not arguments['channel_last']

    def in_layout(array: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
        return array.transpose(order) if other_layout and array.ndim == 4 else array

    inputs = []
    for values, shape, trained in zip(spec.values, spec.shapes, spec.gradients):
        array = in_layout(make_input(values, shape, spec.half, rng), TO_CHANNEL_FIRST)
        inputs.append(nn.Variable(array.shape, need_grad=trained))
        inputs[-1].d = np.ascontiguousarray(array)
    with nn.context_scope(ctx):
        compute = function_of(spec.type)
        assert compute is not None  # else the function has not been collected
        outputs = compute(*inputs, **arguments)
        outputs = outputs if isinstance(outputs, (tuple, list)) else [outputs]
        function = outputs[0].parent
        function.forward(inputs, outputs)
        forward = [variable.d.copy() for variable in [*outputs, *inputs]]
        backward = []
        if any(spec.gradients):
            announce(BACKWARD)
            for output in outputs:
                gradient = rng.normal(
                    0, 0.1, in_layout(np.empty(output.shape), TO_CHANNEL_LAST).shape
                )
                gradient = in_layout(gradient.astype(np.float16), TO_CHANNEL_FIRST)
                output.g = np.ascontiguousarray(gradient, np.float32)
            function.backward(inputs, outputs, [False] * len(inputs))
            backward = [variable.g.copy() for variable in inputs if variable.need_grad]
    return {
        FORWARD: [in_layout(array, TO_CHANNEL_LAST) for array in forward],
        BACKWARD: [in_layout(array, TO_CHANNEL_LAST) for array in backward],
    }


def run_update(
    spec: Spec, ctx: nn.Context, arguments: Mapping, announce: Callable[[str], None]
) -> dict[str, list[np.ndarray]]:
    """What one of ``UPDATES`` makes of seeded parameters and gradients."""
    announce(FORWARD)
    rng, parameters = np.random.RandomState(0), {}
    for number, shape in enumerate(spec.shapes):
        parameters[f'parameter{number}'] = parameter = nn.Variable(shape, need_grad=True)
        parameter.d = make_input('normal', shape, spec.half, rng)
        parameter.g = make_input('normal', shape, spec.half, rng)
    with nn.context_scope(ctx):
        return {FORWARD: UPDATES[spec.type](parameters, SolverKeys(**arguments))}


def _step(parameters: Mapping[str, nn.Variable], keys: SolverKeys) -> list[np.ndarray]:
    optimizer = Optimizer(parameters, keys)
    for rate in (0.1, 0.2):
        optimizer.scale_grad(0.5)
        optimizer.update(rate)
    return [p.d.copy() for p in parameters.values()]


def _clip(parameters: Mapping[str, nn.Variable], keys: SolverKeys) -> list[np.ndarray]:
    assert keys.clip_norm is not None
    norm = Optimizer(parameters, keys).clip(keys.clip_norm)
    return [np.array(norm), *(p.g.copy() for p in parameters.values())]


def _look_for_overflow(parameters: Mapping[str, nn.Variable], keys: SolverKeys) -> list[np.ndarray]:
    optimizer, found = Optimizer(parameters, keys), []
    for value in (1, np.inf, np.nan):
        list(parameters.values())[-1].g[..., -1] = value
        found.append(optimizer.has_overflow())
    return [np.array(found, np.float32)]


def _average(parameters: Mapping[str, nn.Variable], keys: SolverKeys) -> list[np.ndarray]:
    assert keys.ema_decay is not None
    average = Average(parameters, keys.ema_decay)
    for parameter in parameters.values():
        parameter.d = parameter.d * 2
    average.update()
    return list(average.state().values())


UPDATES = {
    'update of the weights': _step,
    'clipping of gradients': _clip,
    'look for overflow': _look_for_overflow,
    'moving average of the weights': _average,
}


def compare(
    spec: Spec, candidate: nn.Context, reference: nn.Context, announce: Callable[[str], None]
) -> tuple[str, str] | None:
    """Which part of a function has what problem, None without any; seeded inputs are the same in
    both contexts.
    """
    run = run_update if spec.is_update else run_function
    found = run(spec, candidate, spec.arguments, announce)
    if spec.type in RANDOM:
        return None
    announce(REFERENCE)
    expected = run(spec, reference, {**spec.arguments, **spec.reference}, lambda part: None)
    tf32 = os.environ.get(context.TF32_VARIABLE, '0') != '0'
    tolerance = TOLERANCE['half' if spec.half else 'TF32' if tf32 else 'float']
    for part, arrays in expected.items():
        if not all(_agree(*pair, tolerance) for pair in zip(found[part], arrays)):
            return part, WRONG
    return None


def _agree(found: np.ndarray, expected: np.ndarray, tolerance: float) -> bool:
    if found.shape != expected.shape or not np.isfinite(found).all():
        return False
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    allowed = tolerance * (np.linalg.norm(expected) + NEGLIGIBLE * np.sqrt(expected.size))
    return np.linalg.norm(found - expected) <= allowed


def main() -> None:
    with os.fdopen(os.dup(1), 'w', buffering=1) as channel:
        os.dup2(2, 1)  # what libraries print is not taken for ours
        job = json.load(sys.stdin)
        context.use(job['name'], device=job['device'], tf32=job['tf32'])
        candidates = {
            half: get_extension_context(
                job['name'], device_id=str(job['device']), type_config=type_config
            )
            for half, type_config in ((False, 'float'), (True, 'half'))
        }
        reference = get_extension_context('cpu')
        for number, spec in enumerate(Spec(**fields) for fields in job['specs']):
            if not _try(spec, candidates[spec.half], reference, partial(_say, channel, number)):
                return


def _try(spec: Spec, candidate: nn.Context, reference: nn.Context, say: Callable) -> bool:
    """Compare and tell; returns whether this process can go on: after an error, a GPU may answer
    nothing any more.
    """
    parts = []

    def announce(part: str) -> None:
        parts.append(part)
        say(part=part)

    try:
        problem = compare(spec, candidate, reference, announce)
    except RuntimeError as error:
        say(problem=(parts[-1], f'fails: {str(error).strip().splitlines()[-1]}'))
        return False
    say(problem=problem)
    return True


def _say(channel: TextIO, number: int, **what: Any) -> None:
    print(json.dumps({'number': number, **what}), file=channel)


if __name__ == '__main__':
    main()
