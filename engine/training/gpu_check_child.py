"""Run the child process that compares functions with the CPU; a broken function can kill it.

The process reads a job of :mod:`engine.training.gpu_check` from standard input. On standard output
it announces each part of a comparison and reports the result, as lines of JSON.
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
from engine.training.moving_average import MovingAverage
from engine.training.optimizer import Optimizer, SolverKeys

FORWARD, BACKWARD, REFERENCE = 'forward', 'backward', 'on the CPU'
WRONG = 'gives wrong numbers'
# Functions by the lower-case form of NNabla's type names, such as BatchNormalization.
FUNCTIONS = {
    name.replace('_', ''): function
    for name, function in vars(function_bases).items()
    if callable(function) and name.islower()
}
RANDOM = ('Dropout', 'Rand', 'Randint', 'Randn')  # run but not compared: results are random
TOLERANCE = {'float': 1e-3, 'TF32': 1e-2, 'half': 5e-2}  # relative to the norm of an array
TO_CHANNEL_FIRST, TO_CHANNEL_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
NEGLIGIBLE = 1e-5  # root mean square below which an array counts as zero


@dataclass(frozen=True)
class FunctionSpec:
    """A function, or an operation on gradients and weights, to compare with the CPU.

    Attributes:
        type: NNabla's name of a function, or a key of ``UPDATES``.
        arguments: Arguments of the function; for updates, fields of :class:`SolverKeys`.
        shapes: Shapes of the inputs; for updates, of the parameters.
        values: Kind of each input, see :func:`make_input`.
        gradients: For each input, whether the backward pass computes its gradient.
        half: Whether the function computes in half precision.
        reference: Arguments that differ on the CPU, which lacks channel_last, for example.
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
        """Whether it is an operation on gradients and weights."""
        return self.type in UPDATES


def function_of(type_name: str) -> Callable | None:
    """Return NNabla's Python function that creates functions of a type; None if there is none."""
    return FUNCTIONS.get(type_name.lower())


def make_input(
    values: str, shape: Sequence[int], half: bool, rng: np.random.RandomState
) -> np.ndarray:
    """Return an input that is equal in every run.

    Half precision represents ``normal`` and ``positive`` numbers exactly, so that differences come
    from the computation and not from the input.

    Args:
        values: ``normal``; ``positive``, away from zero; ``distinct``, without duplicates where the
            precision permits it; ``labels:C``, integers from -1 to C - 1.
        shape: The shape of the array.
        half: Whether ``distinct`` numbers must be distinct in half precision.
        rng: The random generator.
    """
    kind, _, classes = values.partition(':')
    if kind == 'labels':
        return rng.randint(-1, int(classes), shape).astype(np.int32)
    if kind == 'distinct':
        prime = 2039 if half else 8388593  # number of steps from -4 to 4
        order = np.arange(np.prod(shape, dtype=int)) * 7919 % prime
        return (order * (8 / prime) - 4).astype(np.float32).reshape(shape)
    if kind == 'positive':
        return rng.uniform(0.5, 1.5, shape).astype(np.float16).astype(np.float32)
    return rng.normal(0.5, 1, shape).astype(np.float16).astype(np.float32)


def run_function(
    spec: FunctionSpec, ctx: nn.Context, arguments: Mapping, announce: Callable[[str], None]
) -> dict[str, list[np.ndarray]]:
    """Compute a function on seeded inputs.

    Args:
        spec: The function.
        ctx: The context of the device.
        arguments: The arguments of the function on this device.
        announce: Called with each part before it starts.

    Returns:
        Under ``forward`` the outputs, and the inputs since some functions update them; under
        ``backward`` the gradients.

    Raises:
        RuntimeError: NNabla cannot compute the function.
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
        assert compute is not None  # collect_functions skips all others
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
    spec: FunctionSpec, ctx: nn.Context, arguments: Mapping, announce: Callable[[str], None]
) -> dict[str, list[np.ndarray]]:
    """Apply one of ``UPDATES`` to seeded parameters and gradients.

    Args:
        spec: The operation.
        ctx: The context of the device.
        arguments: Fields of :class:`SolverKeys`.
        announce: Called with ``forward`` before the operation starts.

    Returns:
        Under ``forward`` the results of the operation.
    """
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
    average = MovingAverage(parameters, keys.ema_decay)
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


def compare_contexts(
    spec: FunctionSpec,
    candidate: nn.Context,
    reference: nn.Context,
    announce: Callable[[str], None],
) -> tuple[str, str] | None:
    """Compare a function in two contexts on the same seeded inputs.

    Args:
        spec: The function.
        candidate: The context to check.
        reference: The context that is known to be right.
        announce: Called with each part before it starts.

    Returns:
        The part that differs and the problem; None if the contexts agree.

    Raises:
        RuntimeError: NNabla cannot compute the function.
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
    """Compare the functions of the job on standard input, until one breaks this process."""
    with os.fdopen(os.dup(1), 'w', buffering=1) as channel:
        os.dup2(2, 1)  # libraries' output goes to standard error, not into the messages
        job = json.load(sys.stdin)
        context.use(job['name'], device=job['device'], tf32=job['tf32'])
        candidates = {
            half: get_extension_context(
                job['name'], device_id=str(job['device']), type_config=type_config
            )
            for half, type_config in ((False, 'float'), (True, 'half'))
        }
        reference = get_extension_context('cpu')
        for number, spec in enumerate(FunctionSpec(**fields) for fields in job['specs']):
            if not _try(spec, candidates[spec.half], reference, partial(_report, channel, number)):
                return


def _try(
    spec: FunctionSpec, candidate: nn.Context, reference: nn.Context, report: Callable
) -> bool:
    """Compare a function and report the result.

    Returns:
        Whether this process can continue: after an error, a GPU can fail all further calls.
    """
    parts = []

    def announce(part: str) -> None:
        parts.append(part)
        report(part=part)

    try:
        problem = compare_contexts(spec, candidate, reference, announce)
    except RuntimeError as error:
        report(problem=(parts[-1], f'fails: {str(error).strip().splitlines()[-1]}'))
        return False
    report(problem=problem)
    return True


def _report(channel: TextIO, number: int, **fields: Any) -> None:
    print(json.dumps({'number': number, **fields}), file=channel)


if __name__ == '__main__':
    main()
