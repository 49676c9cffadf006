"""Update parameters with NNabla's solvers, in groups of different learning rate and weight decay.

    optimizer = Optimizer(parameters, SolverKeys(solver='adamw'))
    optimizer.zero_grad()
    loss.forward(clear_no_need_grad=True)
    loss.backward(clear_buffer=True)
    norm = optimizer.clip(max_norm)
    optimizer.update(rate(iteration))

The optimizer computes on the device of the context in which it was created. Its master weights are
float32 even if the network is in half precision, which loses a step of 1e-4 on a weight of 1.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import nnabla as nn
import nnabla.functions as F
import nnabla.solvers as S
import numpy as np

from common.patterns import matching_parameters
from common.sections import Section, SectionError, config_key
from common.terminal.short_repr import short_text
from engine.training.pytorch_momentum import PyTorchMomentum
from engine.training.state_arrays import check_fit
from layers.build import float_context

SOLVERS_WITH_MOMENTUM = 'momentum', 'nesterov'
MOMENTUM_FORM = 'momentum_form'  # name of the key
UPDATE_COUNT = 'steps'  # name in the state of a parameter


@dataclass(frozen=True, kw_only=True)
class SolverKeys(Section):
    """Solver, regularisation and averaging of the weights."""

    solver: str = config_key(
        'momentum',
        'solver',
        choices=('momentum', 'nesterov', 'adam', 'adamw'),
    )
    momentum: float = config_key(
        0.9, 'momentum: the share of the velocity that an update keeps', least=0, most=1
    )
    momentum_form: str | None = config_key(
        None,
        'whether the velocity includes the learning rate (nnabla) or not (pytorch)',
        choices=('nnabla', 'pytorch'),
        default_text="that of the original code of the network's family",
    )
    beta1: float = config_key(0.9, "decay rate of Adam's first moment", least=0, most=1)
    beta2: float = config_key(0.999, "decay rate of Adam's second moment", least=0, most=1)
    epsilon: float = config_key(
        1e-8, "added to Adam's denominator for numerical stability", above=0
    )
    weight_decay: float = config_key(
        0.0, 'factor of the L2 regularisation; with adamw, of the decoupled decay', least=0
    )
    gradient_reduction: str = config_key(
        'mean', 'reduction of the gradients over all processes', choices=('mean', 'sum')
    )
    clip_norm: float | None = config_key(
        None, 'maximum L2 norm of all gradients together', above=0, default_text='no limit'
    )
    ema_decay: float | None = config_key(
        None,
        'decay of the exponential moving average of the weights; validation and saved weights use '
        'the average',
        above=0,
        most=1,
        default_text='no average',
    )
    lr_factors: tuple[str, ...] = config_key(
        (), 'pattern=factor: factor of the learning rate of all parameters whose names match'
    )
    no_decay: tuple[str, ...] = config_key(
        (), 'patterns of the names of parameters without weight decay'
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, value in (('beta1', self.beta1), ('beta2', self.beta2)):
            if value >= 1 and self.solver not in SOLVERS_WITH_MOMENTUM:
                raise SectionError(
                    key, f'must be less than 1 for the solver {self.solver}, not {value:g}'
                )
        self.factors()

    def factors(self) -> list[tuple[str, float]]:
        """Return ``lr_factors`` as (pattern, factor) pairs."""
        return [_parse_factor(entry) for entry in self.lr_factors]


@dataclass(frozen=True)
class _Group:
    """A solver and the settings of its parameters.

    Attributes:
        solver: The solver that holds the parameters.
        factor: Multiplies the learning rate.
        decay: The weight decay that :meth:`Optimizer.update` adds to the gradient. It is 0 for
            AdamW, which applies its decoupled decay itself.
    """

    solver: S.Solver | PyTorchMomentum
    factor: float
    decay: float


class Optimizer:
    """An optimizer whose parameter groups differ in learning rate and weight decay.

    ``weight_decay`` is added to the gradient as L2 regularisation; adamw subtracts it from the
    weights instead. ``lr_factors`` multiply the learning rate of the matching parameters, and with
    adamw their decay; if several patterns match, the last one counts. Patterns are shell patterns
    and match the whole name.

    ``momentum_form`` states where the learning rate enters. ``nnabla``, the form of the published
    D3Net and the default if the key is missing, accumulates it in the velocity: ``v = momentum * v
    + lr * g``, ``w -= v``. ``pytorch`` applies it to the velocity: ``v = momentum * v + g``, ``w -=
    lr * v``. The two differ where the learning rate changes, most after a milestone and in a
    warm-up.

    Results equal PyTorch's, with one exception: Adam adds epsilon before it corrects the bias of
    the second moment, as in the efficient form of the paper (Kingma, Ba, 2015, arXiv:1412.6980,
    section 2).

    Args:
        parameters: Trainable Variables by their full names.
        keys: The solver's keys.
        weight_decay: Replaces the weight decay of ``keys``.

    Raises:
        UserError: A pattern matches no parameter.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Variable],
        keys: SolverKeys,
        *,
        weight_decay: float | None = None,
    ):
        self._parameters = dict(parameters)
        self._context = float_context()
        decay = keys.weight_decay if weight_decay is None else weight_decay
        names: dict[tuple[float, bool], list[str]] = {}
        for name, group in _groups_of(list(parameters), keys).items():
            names.setdefault(group, []).append(name)
        self._groups = []
        with nn.context_scope(self._context):
            for (factor, decays), members in names.items():
                own_decay = decay if decays else 0.0
                solver = _make_solver(keys, own_decay)
                solver.set_parameters({name: parameters[name] for name in members})
                in_gradient = 0.0 if keys.solver == 'adamw' else own_decay
                self._groups.append(_Group(solver, factor, in_gradient))

    def zero_grad(self) -> None:
        """Zero the gradients of all parameters."""
        for group in self._groups:
            group.solver.zero_grad()

    def clip(self, max_norm: float) -> float:
        """Clip all gradients to a common L2 norm of at most ``max_norm``.

        Equals PyTorch's ``clip_grad_norm_``, except that gradients whose norm is not finite are not
        changed.

        Returns:
            The norm before clipping.
        """
        with nn.context_scope(self._context):
            squares = []
            for parameter in self._parameters.values():
                row = parameter.grad.view((1, 1, parameter.size))
                squares.append(F.batch_matmul(row, row, transpose_b=True))
            total = F.concatenate(*squares, axis=0) if len(squares) > 1 else squares[0]
        norm = math.sqrt(np.sum(total.data, dtype=np.float64))
        if norm > max_norm and math.isfinite(norm):
            self.scale_grad(max_norm / (norm + 1e-6))
        return norm

    def scale_grad(self, factor: float) -> None:
        """Multiply all gradients by ``factor``."""
        for group in self._groups:
            group.solver.scale_grad(factor)

    def has_overflow(self) -> bool:
        """Return whether a gradient is infinite or not a number."""
        return any(group.solver.check_inf_or_nan_grad() for group in self._groups)

    def update(self, lr: float) -> None:
        """Update the parameters with the learning rate ``lr``, times each group's factor."""
        for group in self._groups:
            group.solver.set_learning_rate(lr * group.factor)
            if group.decay:
                group.solver.weight_decay(group.decay)
            group.solver.update()

    def state(self) -> dict[str, np.ndarray]:
        """Return the state, from which :meth:`load_state` continues bit for bit.

        The state holds the moments and the number of updates of each parameter, such as
        ``conv/W/m`` and ``conv/W/steps``.
        """
        arrays = {}
        for name, state in self._states():
            for key, value in state.pstate.items():
                arrays[f'{name}/{key}'] = value.data.get_data('r').copy()
            arrays[f'{name}/{UPDATE_COUNT}'] = np.array(state.t, np.int64)
        return arrays

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Restore a :meth:`state`.

        Raises:
            UserError: The state belongs to another solver or other parameters; nothing is changed.
        """
        check_fit(self.state(), arrays, "the solver's")
        for group in self._groups:
            states = group.solver.get_states()
            for name, state in states.items():
                for key, value in state.pstate.items():
                    value.d = np.array(arrays[f'{name}/{key}'], np.float32)
                state.t = int(arrays[f'{name}/{UPDATE_COUNT}'])
            group.solver.set_states(states)

    def _states(self) -> Iterator[tuple[str, Any]]:
        for group in self._groups:
            yield from group.solver.get_states().items()


def momentum_form(keys: SolverKeys, of_family: str) -> str | None:
    """Return the form of momentum of a training.

    Args:
        keys: The solver's keys; their ``momentum_form`` takes precedence.
        of_family: The ``momentum_form`` of the network's :class:`models.family.Family`.

    Returns:
        ``nnabla`` or ``pytorch``; for a solver without momentum the key as it is, usually None.
    """
    if keys.solver not in SOLVERS_WITH_MOMENTUM:
        return keys.momentum_form
    return keys.momentum_form or of_family


def _make_solver(keys: SolverKeys, decay: float) -> S.Solver | PyTorchMomentum:
    if keys.solver in SOLVERS_WITH_MOMENTUM and keys.momentum_form == 'pytorch':
        return PyTorchMomentum(keys.momentum, keys.solver == 'nesterov')
    if keys.solver == 'momentum':
        return S.Momentum(1.0, keys.momentum)
    if keys.solver == 'nesterov':
        return S.Nesterov(1.0, keys.momentum)
    options = dict(alpha=1.0, eps=keys.epsilon, beta1=keys.beta1, beta2=keys.beta2)
    # NNabla's AdamW decays weights by wd * alpha / (its initial alpha). With an initial alpha of 1,
    # the decay is PyTorch's lr * weight_decay for any first learning rate.
    return S.AdamW(wd=decay, **options) if keys.solver == 'adamw' else S.Adam(**options)


def _groups_of(names: list[str], keys: SolverKeys) -> dict[str, tuple[float, bool]]:
    """Return the learning-rate factor of each parameter, and whether weight decay applies to it.

    Raises:
        UserError: A pattern matches none of the names.
    """
    factors, decays = dict.fromkeys(names, 1.0), dict.fromkeys(names, True)
    for pattern, factor in keys.factors():
        factors |= dict.fromkeys(matching_parameters('lr_factors', pattern, names), factor)
    for pattern in keys.no_decay:
        decays |= dict.fromkeys(matching_parameters('no_decay', pattern, names), False)
    return {name: (factors[name], decays[name]) for name in names}


def _parse_factor(entry: str) -> tuple[str, float]:
    pattern, _, text = entry.rpartition('=')
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not pattern or not 0 <= factor < math.inf:
        raise SectionError(
            'lr_factors', f"write '{short_text(entry)}' as pattern=factor, such as backbone/*=0.1"
        )
    return pattern, factor
