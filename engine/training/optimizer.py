"""Solvers over groups of parameters.

    optimizer = Optimizer(parameters, SolverKeys(solver='adamw'))
    optimizer.zero_grad()
    loss.forward(clear_no_need_grad=True)
    loss.backward(clear_buffer=True)
    norm = optimizer.clip(max_norm)
    optimizer.update(rate(iteration))

It computes on the device of the context in which it was made, in float32 also beside a network in
half precision: weights of 1 would not notice a step of 1e-4 there.
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
from engine.training.pytorch_momentum import PyTorchMomentum
from engine.training.state_arrays import check_fit
from layers.build import float_context

WITH_MOMENTUM = ('momentum', 'nesterov')  # solvers
MOMENTUM_FORM = 'momentum_form'  # the key
STEPS = 'steps'  # in the state of a parameter: the updates so far


@dataclass(frozen=True, kw_only=True)
class SolverKeys(Section):
    """How gradients change the weights."""

    solver: str = config_key(
        'momentum',
        'how gradients become updates',
        choices=('momentum', 'nesterov', 'adam', 'adamw'),
    )
    momentum: float = config_key(0.9, 'share of the velocity that an update keeps', least=0, most=1)
    momentum_form: str | None = config_key(
        None,
        'whether the velocity has the learning rate in it (nnabla) or not (pytorch)',
        choices=('nnabla', 'pytorch'),
        default_text="the original's of the network's family",
    )
    beta1: float = config_key(
        0.9, "share of Adam's first moment that an update keeps", least=0, most=1
    )
    beta2: float = config_key(
        0.999, "share of Adam's second moment that an update keeps", least=0, most=1
    )
    epsilon: float = config_key(1e-8, "what is added to Adam's divisor", above=0)
    weight_decay: float = config_key(
        0.0, 'factor of the L2 regularisation; for adamw of the decoupled decay', least=0
    )
    gradient_reduction: str = config_key(
        'mean', 'how the gradients of all processes are combined', choices=('mean', 'sum')
    )
    clip_norm: float | None = config_key(
        None, 'greatest L2 norm of all gradients together', above=0, default_text='no limit'
    )
    ema_decay: float | None = config_key(
        None,
        'share of the moving average of the weights that an update keeps; validation and saved '
        'weights take the average',
        above=0,
        most=1,
        default_text='no average',
    )
    lr_factors: tuple[str, ...] = config_key(
        (), 'pattern=factor: multiplies the learning rate of parameters whose names match'
    )
    no_decay: tuple[str, ...] = config_key(
        (), 'patterns of the names of parameters without weight decay'
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, value in (('beta1', self.beta1), ('beta2', self.beta2)):
            if value >= 1 and self.solver not in WITH_MOMENTUM:
                raise SectionError(
                    key, f'must be less than 1 for the solver {self.solver}, not {value:g}'
                )
        self.factors()

    def factors(self) -> list[tuple[str, float]]:
        """Return the patterns of ``lr_factors``, each with its factor."""
        return [_parse_factor(entry) for entry in self.lr_factors]


@dataclass(frozen=True)
class _Group:
    """Parameters with one factor of the learning rate and one weight decay, and their solver.

    decay: what :meth:`Optimizer.update` adds to the gradient, in units of the weights; AdamW has
    its own instead.
    """

    solver: S.Solver | PyTorchMomentum
    factor: float
    decay: float


class Optimizer:
    """A solver of parameters, in groups that differ in learning rate and weight decay.

    ``weight_decay`` is added to the gradient as L2 regularisation, with adamw taken off the
    weights. ``lr_factors`` multiply the learning rate, and with adamw the decay, of the parameters
    that match; of several that match, the last one counts. Patterns are those of shells and meet
    the whole name.

    ``momentum_form`` says where the learning rate is. ``nnabla``, as in the published D3Net and
    without the key, has it inside of what momentum gathers: ``v = momentum * v + lr * g``, ``w -=
    v``.
    ``pytorch`` has it outside: ``v = momentum * v + g``, ``w -= lr * v``. They differ where the
    learning rate changes, most after a milestone and in a warm-up.

    Numbers are PyTorch's, but Adam's epsilon is added before the second moment's bias is corrected,
    as in the efficient form of the paper (Kingma, Ba, 2015, arXiv:1412.6980, section 2).

    Args:
        parameters: Trainable Variables by their full names.
        keys: The solver.
        weight_decay: Replaces that of ``keys``.

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
        """Scale all gradients so that their common L2 norm is at most ``max_norm``; returns the
        norm before that.

        As PyTorch's ``clip_grad_norm_``, except that gradients whose norm is not finite stay as
        they are.
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
        """Whether a gradient is infinite or not a number."""
        return any(group.solver.check_inf_or_nan_grad() for group in self._groups)

    def update(self, lr: float) -> None:
        """One step with the learning rate ``lr``, times each group's factor."""
        for group in self._groups:
            group.solver.set_learning_rate(lr * group.factor)
            if group.decay:
                group.solver.weight_decay(group.decay)
            group.solver.update()

    def state(self) -> dict[str, np.ndarray]:
        """What :meth:`load_state` needs to continue bit for bit: for each parameter its moments and
        the number of updates, such as ``conv/W/m`` and ``conv/W/steps``.
        """
        arrays = {}
        for name, state in self._states():
            for key, value in state.pstate.items():
                arrays[f'{name}/{key}'] = value.data.get_data('r').copy()
            arrays[f'{name}/{STEPS}'] = np.array(state.t, np.int64)
        return arrays

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Continue from ``arrays``, a :meth:`state`; raises ``UserError``, and changes nothing,
        when it is that of another solver or of other parameters.
        """
        check_fit(self.state(), arrays, "the solver's")
        for group in self._groups:
            states = group.solver.get_states()
            for name, state in states.items():
                for key, value in state.pstate.items():
                    value.d = np.array(arrays[f'{name}/{key}'], np.float32)
                state.t = int(arrays[f'{name}/{STEPS}'])
            group.solver.set_states(states)

    def _states(self) -> Iterator[tuple[str, Any]]:
        for group in self._groups:
            yield from group.solver.get_states().items()


def momentum_form(keys: SolverKeys, of_family: str) -> str | None:
    """Return the form of momentum that a training has; None where its solver has no momentum.

    Args:
        keys: Of the training; the form that they name holds.
        of_family: The ``momentum_form`` of the network's :class:`models.family.Family`.
    """
    if keys.solver not in WITH_MOMENTUM:
        return keys.momentum_form
    return keys.momentum_form or of_family


def _make_solver(keys: SolverKeys, decay: float) -> S.Solver | PyTorchMomentum:
    if keys.solver in WITH_MOMENTUM and keys.momentum_form == 'pytorch':
        return PyTorchMomentum(keys.momentum, keys.solver == 'nesterov')
    if keys.solver == 'momentum':
        return S.Momentum(1.0, keys.momentum)
    if keys.solver == 'nesterov':
        return S.Nesterov(1.0, keys.momentum)
    options = dict(alpha=1.0, eps=keys.epsilon, beta1=keys.beta1, beta2=keys.beta2)
    # NNabla's AdamW takes off wd * alpha / (the alpha it was made with) of the weights: with an
    # alpha of 1 that is PyTorch's lr * weight_decay, whatever the first learning rate.
    return S.AdamW(wd=decay, **options) if keys.solver == 'adamw' else S.Adam(**options)


def _groups_of(names: list[str], keys: SolverKeys) -> dict[str, tuple[float, bool]]:
    """Return for each parameter its factor of the learning rate, and whether it has weight decay.

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
            'lr_factors', f"write '{entry}' as pattern=factor, such as backbone/*=0.1"
        )
    return pattern, factor
