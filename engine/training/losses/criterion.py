"""Training losses over logits of several resolutions and labels with ignored pixels.

    criterion = from_config(config, num_classes)
    objective = criterion.build(network(x, train=True), x.shape[2:])
    totals = communicator.total(sum(objective.counts(labels) for labels in micro_batches))
    for labels in micro_batches:
        objective.feed(labels, totals)
        objective.loss.forward(clear_no_need_grad=True)
        objective.loss.backward(clear_buffer=True)          # gradients add up

A batch may be spread over micro-batches and processes. Each share divides by what the whole batch
counts, which follows from the labels alone, so that the sums of losses and gradients over all
shares are those of the whole batch.

Labels are integers (N, 1, H, W), negative where a pixel is ignored, and below the number of
classes, which NNabla does not check. The functions are those that NNabla's CUDA extension computes
rightly on a Hopper GPU.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import nnabla as nn
import nnabla.functions as F
import numpy as np

from common.errors import UserError
from common.sections import Section, config_key
from engine.training.losses.dice import soft_dice
from engine.training.losses.lovasz import lovasz_softmax
from engine.training.losses.ohem import Ohem, mean_of_hard
from layers import functions as L
from layers.build import float_context

AUX_WEIGHT = 0.4
OHEM_THRESHOLD, OHEM_MIN_KEPT = 0.9, 131072


@dataclass(frozen=True, kw_only=True)
class LossKeys(Section):
    """What is minimised."""

    loss: str = config_key(
        'cross_entropy', 'loss of the main head', choices=('cross_entropy', 'ohem')
    )
    loss_mean: str | None = config_key(
        None,
        'pixels that cross entropy is averaged over',
        choices=('valid', 'all'),
        default_text='valid',
    )
    loss_at: str = config_key(
        'input', 'resolution at which it is taken', choices=('input', 'logits')
    )
    class_weights: tuple[float, ...] | None = config_key(
        None, 'weight of each class', least=0, default_text='1 for each'
    )
    label_smoothing: float = config_key(
        0.0, 'share of a label that is spread over all classes', least=0, most=1
    )
    main_weight: float = config_key(1.0, 'weight of the main head', least=0)
    aux_weights: tuple[float, ...] | None = config_key(
        None,
        'weight of the auxiliary heads, one for all or one for each',
        least=0,
        default_text='0.4',
    )
    ohem_threshold: float = config_key(
        0.9, 'probability of the true class below which ohem keeps a pixel', above=0, most=1
    )
    ohem_min_kept: int = config_key(131072, 'pixels of a batch that ohem keeps at least', least=1)
    dice_weight: float = config_key(0.0, 'weight of the soft Dice loss of the main head', least=0)
    lovasz_weight: float = config_key(
        0.0, 'weight of the Lovász-softmax loss of the main head', least=0
    )


def from_config(config: Mapping, num_classes: int) -> 'Criterion':
    """The loss that ``config`` asks for; raises ``UserError`` for keys that do not fit together.

    The keys are those of :class:`Criterion` and, for ``loss: ohem``, of
    :class:`engine.training.losses.ohem.Ohem`.
    """
    hard = config.get('loss') == 'ohem'
    if hard and 'loss_mean' in config:
        raise UserError('loss_mean: does not go with loss ohem, which averages what it keeps')
    class_weights = config.get('class_weights')
    if class_weights and len(class_weights) != num_classes:
        raise UserError(f'class_weights: {len(class_weights)} values for {num_classes} classes')
    aux_weights = config.get('aux_weights')
    return Criterion(
        num_classes,
        mean_over=config.get('loss_mean', 'valid'),
        at=config.get('loss_at', 'input'),
        class_weights=tuple(class_weights) if class_weights else None,
        label_smoothing=config.get('label_smoothing', 0.0),
        ohem=Ohem(
            config.get('ohem_threshold', OHEM_THRESHOLD),
            config.get('ohem_min_kept', OHEM_MIN_KEPT),
        )
        if hard
        else None,
        main_weight=config.get('main_weight', 1.0),
        aux_weights=tuple(aux_weights) if aux_weights else None,
        dice_weight=config.get('dice_weight', 0.0),
        lovasz_weight=config.get('lovasz_weight', 0.0),
    )


@dataclass(frozen=True)
class Criterion:
    """What is minimised: cross entropy of all heads, and terms of the main head.

    mean_over (key ``loss_mean``): what cross entropy divides by. ``valid``: the weights of the
    pixels that are not ignored, as PyTorch does; ``all``: the number of all pixels, as the
    published D3Net does.
    at (``loss_at``): ``input``: logits are resized to the input's size; ``logits``: labels are
    subsampled to each head's size.
    class_weights: one for each class. label_smoothing: the share of a label that is spread evenly
    over all classes. Both as in PyTorch's ``CrossEntropyLoss``.
    ohem: on the main head instead of plain cross entropy. main_weight: of the loss that it has of
    these two.
    aux_weights: of the auxiliary heads' cross entropy, one for all heads or one for each; when the
    key is absent, 0.4 for each head that the network has.
    dice_weight, lovasz_weight: of the soft Dice loss and of the Lovász-softmax loss, added to the
    main head's. Both take the classes that the micro-batch has, and weigh its loss by its share of
    all valid pixels, so they depend on how a batch is divided.
    """

    num_classes: int
    mean_over: str = 'valid'
    at: str = 'input'
    class_weights: tuple[float, ...] | None = None
    label_smoothing: float = 0.0
    ohem: Ohem | None = None
    main_weight: float = 1.0
    aux_weights: tuple[float, ...] | None = None
    dice_weight: float = 0.0
    lovasz_weight: float = 0.0

    def build(
        self, outputs: Sequence[nn.Variable], size: tuple[int, int], context=None
    ) -> 'Objective':
        """The graph of the loss of ``outputs``, logits ``[main, aux1, ...]`` (N, num_classes, h, w)
        for an input of ``size``, (H, W).

        It computes in float32 on the device of ``context``, by default the current one, whatever
        the precision of the network. Raises ``UserError`` when ``aux_weights`` does not fit the
        number of heads.
        """
        head_weights = (self.main_weight, *self._weights_of_aux(len(outputs) - 1))
        targets, parts = {}, []
        with nn.context_scope(float_context(context)):
            for logits, weight in zip(outputs, head_weights):
                if self.at == 'input':
                    logits = L.resize(logits, size)
                head_size = logits.shape[2:]
                if head_size not in targets:
                    targets[head_size] = _Targets(logits.shape[0], head_size)
                parts += self._parts(logits, targets[head_size], weight, main=not parts)
            return Objective(parts)

    def _weights_of_aux(self, heads: int) -> Sequence[float]:
        weights = self.aux_weights or [AUX_WEIGHT] * heads
        if heads and len(weights) == 1:
            return [weights[0]] * heads
        if len(weights) != heads:
            raise UserError(
                f'aux_weights: {len(weights)} given, the network has {heads} auxiliary heads'
            )
        return weights

    def _parts(self, logits, targets: '_Targets', weight: float, main: bool) -> list['_Part']:
        """What one head adds to the loss."""
        cross_entropy, pixel_losses = self._pixel_losses(logits, targets)
        if main and self.ohem:
            hard = mean_of_hard(cross_entropy, pixel_losses, targets, self.ohem)
            parts = [_Part(hard, weight, targets, _count_valid)]
        else:
            parts = [_Part(L.mean_all(pixel_losses), weight, targets, self._count(), np.size)]
        if main and (self.dice_weight or self.lovasz_weight):
            probabilities = F.softmax(logits, axis=1)
            if self.dice_weight:
                dice = soft_dice(probabilities, targets)
                parts.append(_Part(dice, self.dice_weight, targets, _count_valid))
            if self.lovasz_weight:
                lovasz = lovasz_softmax(probabilities, targets.labels)
                parts.append(_Part(lovasz, self.lovasz_weight, targets, _count_valid))
        return parts

    def _pixel_losses(self, logits, targets: '_Targets'):
        """Each pixel's cross entropy, plain, and with class weights and smoothing; (N, 1, h, w), 0
        where the label is ignored.
        """
        plain = losses = F.softmax_cross_entropy(logits, targets.labels, axis=1)
        if self.class_weights:
            losses = losses * targets.add(targets.shape, self._pixel_weights)
        if self.label_smoothing:
            of_classes = F.log_softmax(logits, axis=1)
            if self.class_weights:
                of_classes = of_classes * _constant(self.class_weights, (1, -1, 1, 1))
            evenly = F.sum(of_classes, axis=1, keepdims=True) * targets.valid
            share = self.label_smoothing
            losses = losses * (1 - share) + evenly * (-share / self.num_classes)
        return plain, losses

    def _count(self) -> Callable[[np.ndarray], float]:
        """What cross entropy divides by, of labels."""
        if self.mean_over == 'all':
            return np.size
        return self._count_weights if self.class_weights else _count_valid

    def _pixel_weights(self, labels: np.ndarray) -> np.ndarray:
        weights = np.array(self.class_weights, np.float32)
        return weights[labels] * (labels >= 0)

    def _count_weights(self, labels: np.ndarray) -> float:
        return self._pixel_weights(labels).sum(dtype=np.float64)


class Objective:
    """The loss of one micro-batch as a graph; see the module for its use.

    loss: Variable (1,), this micro-batch's share in the loss of the whole batch.
    """

    def __init__(self, parts: list['_Part']):
        self._parts = parts
        self.loss = sum(part.value * part.factor for part in parts)
        self.loss.persistent = True

    def counts(self, labels: np.ndarray) -> np.ndarray:
        """What this micro-batch adds to the denominators: float64, one for each part of the loss.

        labels: (N, 1, H, W), of the input's size.
        """
        return np.array(self._measured([part.count for part in self._parts], labels), np.float64)

    def feed(self, labels: np.ndarray, totals: np.ndarray):
        """Set the labels of the next forward pass; totals: the sum of the counts of all
        micro-batches of all processes.
        """
        for targets in {id(part.targets): part.targets for part in self._parts}.values():
            targets.feed(labels)
        multipliers = self._measured([part.multiplier for part in self._parts], labels)
        for part, own, total in zip(self._parts, multipliers, totals):
            part.factor.d = np.full(1, part.weight * own / total if total else 0, np.float32)

    def _measured(self, measures: Sequence[Callable], labels: np.ndarray) -> list[float]:
        """A measure of the labels for each part; what parts have in common is done once."""
        known = {}
        for part, measure in zip(self._parts, measures):
            key = id(part.targets), measure
            if key not in known:
                known[key] = measure(part.targets.at(labels))
        return [known[id(part.targets), measure] for part, measure in zip(self._parts, measures)]


class _Part:
    """A term of the loss: ``value * factor``, where the factor is ``weight * multiplier / the sum
    of all micro-batches' counts``.

    count and multiplier map labels of the targets' size to numbers. A ``value`` that is a mean by
    the count itself has the count as its multiplier.
    """

    def __init__(self, value, weight: float, targets: '_Targets', count, multiplier=None):
        self.value, self.weight, self.targets, self.count = value, weight, targets, count
        self.multiplier = multiplier or count
        self.factor = nn.Variable((1,), need_grad=False)


class _Targets:
    """The labels at one resolution, and inputs of the graph that the host computes from them."""

    def __init__(self, batch: int, size: tuple[int, int]):
        self.shape = (batch, 1, *size)
        self._inputs = []
        self.labels = self.add(self.shape, lambda labels: labels)
        self.valid = F.greater_equal_scalar(self.labels, 0)
        self.valid.need_grad = False

    def add(self, shape: tuple[int, ...], compute: Callable[[np.ndarray], np.ndarray]):
        """A Variable that holds ``compute(labels)``, for labels of this resolution."""
        self._inputs.append((nn.Variable(shape, need_grad=False), compute))
        return self._inputs[-1][0]

    def at(self, labels: np.ndarray) -> np.ndarray:
        """``labels`` (N, 1, H, W) by nearest neighbour, the pixel under the centre of each new one.

        Pixel ``floor((i + 0.5) * scale)``, as Pillow's ``resize`` with ``NEAREST`` takes it.
        """
        rows, columns = (
            (2 * np.arange(new) + 1) * old // (2 * new)
            for old, new in zip(labels.shape[2:], self.shape[2:])
        )
        return labels if labels.shape == self.shape else labels[:, :, rows[:, None], columns]

    def feed(self, labels: np.ndarray):
        labels = self.at(labels)
        for variable, compute in self._inputs:
            values = compute(labels)
            variable.d = values.astype(np.int32 if variable is self.labels else np.float32)


def _count_valid(labels: np.ndarray) -> int:
    return np.count_nonzero(labels >= 0)


def _constant(values, shape: tuple[int, ...]) -> nn.Variable:
    array = np.array(values, np.float32).reshape(shape)
    return nn.Variable.from_numpy_array(array, need_grad=False)
