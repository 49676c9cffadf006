"""Differential test: trainings with random options against independent formulas in float64.

The network is two 1x1 convolutions, a main head and an auxiliary one, so that logits and gradients
are matrix products. The options are drawn from a seed.
"""

import math
from types import SimpleNamespace

import nnabla as nn
import numpy as np
import pytest

from engine.distributed.communicators import SingleProcessCommunicator
from engine.distributed.processes import Processes
from layers import functions as L
from models.family import Family
from models.registry import Network
from support import mpi_training

COMBINATIONS = 48
STEPS, CLASSES, SIZE = 4, 5, (8, 10)
HEADS = ('main', 'aux')
BOUND = 2e-5  # of the largest weight, after all steps


def draw(seed):
    """Return a config of random options."""
    rng = np.random.RandomState(seed)

    def maybe(share, **keys):
        return {k: v() for k, v in keys.items()} if rng.rand() < share else {}

    def number(low, high):
        return lambda: float(rng.uniform(low, high))

    config = {
        'lr': number(0.02, 0.2)(),
        'max_iter': int(rng.randint(STEPS, 20)),
        'weight_decay': float(rng.choice([0, 0.01, 0.1])),
        'solver': str(rng.choice(['momentum', 'momentum', 'nesterov', 'adam', 'adamw'])),
        'momentum_form': str(rng.choice(['nnabla', 'pytorch'])),
        'momentum': number(0, 0.95)(),
        'schedule': str(rng.choice(['poly', 'cosine', 'step', 'one_cycle', 'constant'])),
        'accumulation': int(rng.randint(1, 4)),
        'aux_weights': [number(0, 1)()],
    }
    if config['schedule'] == 'step':
        config |= {'milestones': [2, 3], 'gamma': number(0.05, 0.9)()}
    if config['schedule'] in ('poly', 'cosine'):
        config |= maybe(0.5, min_lr=number(0, 0.01), power=number(0.5, 2))
    config |= maybe(0.4, warmup_iter=lambda: int(rng.randint(1, 6)), warmup_factor=number(0, 0.5))
    config |= maybe(0.4, class_weights=lambda: rng.uniform(0.2, 3, CLASSES).round(3).tolist())
    config |= maybe(0.3, label_smoothing=number(0.01, 0.3))
    config |= maybe(0.3, dice_weight=number(0.1, 1))
    config |= maybe(0.3, lovasz_weight=number(0.1, 1))
    if rng.rand() < 0.3:
        config |= {'loss': 'ohem', 'ohem_threshold': number(0.05, 0.6)()}
        config |= {'ohem_min_kept': int(rng.randint(1, 60)), 'main_weight': number(0.3, 1)()}
    else:
        config['loss_mean'] = str(rng.choice(['valid', 'all']))
    config |= maybe(0.3, clip_norm=number(0.01, 1))
    config |= maybe(0.3, ema_decay=number(0.5, 0.99))
    config |= maybe(0.3, lr_factors=lambda: ['aux/*=0.1', '*/b=2'])
    config |= maybe(0.3, no_decay=lambda: ['*/b'])
    return config


def batches(seed, count):
    """Return seeded images and labels; the share of ignored labels varies."""
    rng = np.random.RandomState(1000 + seed)
    made = []
    for _ in range(count):
        images = rng.standard_normal((2, 3, *SIZE)).astype(np.float32)
        labels = rng.randint(0, CLASSES, (2, 1, *SIZE)).astype(np.int32)
        labels[rng.rand(*labels.shape) < rng.uniform(0, 0.7)] = -1
        made.append((images, labels))
    return made


# The formulas


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def pixel_losses(p, y, weights, smoothing):
    """Return the loss of each pixel and its gradient by the logits; ``p``: probabilities."""
    rows, log_p = np.arange(len(y)), np.log(p)
    target = np.zeros_like(p)
    target[rows, y] = weights[y] * (1 - smoothing)
    target += smoothing / CLASSES * weights
    return -(target * log_p).sum(1), p * target.sum(1, keepdims=True) - target


def through_softmax(p, by_p):
    """Convert a gradient by the probabilities to one by the logits."""
    return p * (by_p - (p * by_p).sum(1, keepdims=True))


def dice(p, y):
    """Return the mean of 1 - 2 |p y| / (|p| + |y|) over present classes, and its gradient."""
    loss, by_p, present = 0.0, np.zeros_like(p), np.unique(y)
    for c in present:
        truth = (y == c).astype(float)
        overlap, total = (p[:, c] * truth).sum(), p[:, c].sum() + truth.sum()
        loss += (1 - 2 * overlap / total) / len(present)
        by_p[:, c] = -2 * (truth * total - overlap) / total**2 / len(present)
    return loss, by_p


def lovasz(p, y):
    """Return the mean Lovász extension of the Jaccard loss over present classes, and its gradient.

    By definition it is a sum over pixels in descending order of error: the error times the increase
    of the Jaccard loss when the pixel joins the set of wrong ones.
    """
    loss, by_p, present = 0.0, np.zeros_like(p), np.unique(y)
    for c in present:
        truth = y == c
        errors = np.where(truth, 1 - p[:, c], p[:, c])
        wrong, before = np.zeros(len(y), bool), 0.0
        for i in sorted(range(len(y)), key=lambda i: -errors[i]):
            wrong[i] = True
            jaccard = 1 - (truth & ~wrong).sum() / (truth | wrong).sum()
            loss += errors[i] * (jaccard - before) / len(present)
            by_p[i, c] = (jaccard - before) * (-1 if truth[i] else 1) / len(present)
            before = jaccard
    return loss, by_p


def hard(p, y, config):
    """Return which pixels OHEM keeps."""
    true = p[np.arange(len(y)), y]
    limit = np.sort(true)[min(config['ohem_min_kept'], len(y) - 1)]
    return true < max(limit, config['ohem_threshold'])


def loss_and_gradients(parameters, config, micro_batches):
    """Return the loss of a whole batch and its gradients by the parameters."""
    weights = np.array(config.get('class_weights', np.ones(CLASSES)))
    smoothing = config.get('label_smoothing', 0)
    flat = [
        (x.transpose(0, 2, 3, 1).reshape(-1, 3).astype(float), labels.ravel())
        for x, labels in micro_batches
    ]
    pixels = sum(len(labels) for _, labels in flat)
    flat = [(x[labels >= 0], labels[labels >= 0]) for x, labels in flat]
    valid = sum(len(y) for _, y in flat)
    divisor = pixels if config.get('loss_mean') == 'all' else sum(weights[y].sum() for _, y in flat)
    loss, gradients = 0.0, dict.fromkeys(parameters, 0.0)
    for x, y in flat:
        for head, factor in zip(HEADS, (config.get('main_weight', 1), config['aux_weights'][0])):
            p = softmax(x @ parameters[f'{head}/conv/W'].T + parameters[f'{head}/conv/b'])
            each, by_logits = pixel_losses(p, y, weights, smoothing)
            share = len(y) / valid  # weight of losses that are averaged per micro-batch
            if head == 'main' and config.get('loss') == 'ohem':
                kept = hard(p, y, config)
                scale = factor * share / max(kept.sum(), 1)
                loss += scale * each[kept].sum()
                by_logits = by_logits * kept[:, None] * scale
            else:
                loss += factor * each.sum() / divisor
                by_logits = by_logits * factor / divisor
            if head == 'main':
                for term, key in ((dice, 'dice_weight'), (lovasz, 'lovasz_weight')):
                    if key in config:
                        value, by_p = term(p, y)
                        loss += config[key] * share * value
                        by_logits = by_logits + config[key] * share * through_softmax(p, by_p)
            gradients[f'{head}/conv/W'] += by_logits.T @ x
            gradients[f'{head}/conv/b'] += by_logits.sum(0)
    return loss, gradients


def rate(config, i):
    n, lr, least = config['max_iter'], config['lr'], config.get('min_lr', 0)
    name = config['schedule']
    if name == 'poly':
        value = least + (lr - least) * (1 - i / n) ** config.get('power', 0.9)
    elif name == 'cosine':
        value = least + (lr - least) * (1 + math.cos(math.pi * i / n)) / 2
    elif name == 'step':
        value = lr * config['gamma'] ** sum(i >= milestone for milestone in config['milestones'])
    elif name == 'one_cycle':
        top, first, last = 0.3 * n - 1, lr / 25, lr / 25e4
        start, end, part = (
            (first, lr, i / top) if i <= top else (lr, last, (i - top) / (n - 1 - top))
        )
        value = end + (start - end) * (1 + math.cos(math.pi * part)) / 2
    else:
        value = lr
    if 'warmup_iter' in config:
        least = config['warmup_factor']
        value *= least + (1 - least) * min(1, i / config['warmup_iter'])
    return value


class Solver:
    """The update of one parameter."""

    def __init__(self, name, config):
        self.m = self.v = self.steps = 0
        self.factor, self.config = 1.0, config
        if 'lr_factors' in config:
            self.factor = 2.0 if name.endswith('/b') else 0.1 if name.startswith('aux/') else 1.0
        exempt = 'no_decay' in config and name.endswith('/b')
        self.decay = 0 if exempt else config['weight_decay']

    def update(self, w, g, lr):
        config, lr, self.steps = self.config, lr * self.factor, self.steps + 1
        name, mu = config['solver'], config['momentum']
        if name == 'adamw':
            w = w - lr * self.decay * w
        else:
            g = g + self.decay * w
        if name in ('adam', 'adamw'):
            self.m = 0.9 * self.m + 0.1 * g
            self.v = 0.999 * self.v + 0.001 * g * g
            correction = math.sqrt(1 - 0.999**self.steps) / (1 - 0.9**self.steps)
            return w - lr * correction * self.m / (np.sqrt(self.v) + 1e-8)
        inside, outside = (lr, 1) if config['momentum_form'] == 'nnabla' else (1, lr)
        self.v = mu * self.v + inside * g
        step = inside * g + mu * self.v if name == 'nesterov' else self.v
        return w - outside * step


def expected(start, config, data):
    """Return losses, parameters and their averages after all steps."""
    parameters = {name: value.astype(float) for name, value in start.items()}
    solvers = {name: Solver(name, config) for name in parameters}
    averages, losses = dict(parameters), []
    for i in range(STEPS):
        taken = config['accumulation']
        micro_batches = [data[(i * taken + k) % len(data)] for k in range(taken)]
        loss, gradients = loss_and_gradients(parameters, config, micro_batches)
        losses.append(loss)
        if 'clip_norm' in config:
            norm = math.sqrt(sum((g**2).sum() for g in gradients.values()))
            if norm > config['clip_norm']:
                factor = config['clip_norm'] / (norm + 1e-6)
                gradients = {name: g * factor for name, g in gradients.items()}
        lr = rate(config, i)
        for name, solver in solvers.items():
            parameters[name] = solver.update(parameters[name], gradients[name], lr)
        kept = min(config.get('ema_decay', 0), (1 + i) / (10 + i))
        averages = {n: kept * a + (1 - kept) * parameters[n] for n, a in averages.items()}
    return losses, parameters, averages


# The trainer


def network():
    info = mpi_training.network('plain').info

    def graph(x, build):
        return [L.convolution(x, CLASSES, 1, head, build) for head in HEADS]

    family = Family(name='heads', graph=graph, variants={}, info=lambda hyper: info)
    return Network('heads', family, {}, info)


def parameters_of():
    """Return all parameters by name, (channels, inputs) and (channels,)."""
    return {
        name: p.d.copy().reshape(CLASSES, -1) if name.endswith('/W') else p.d.copy()
        for name, p in nn.get_parameters(grad_only=False).items()
    }


@pytest.mark.parametrize('seed', range(COMBINATIONS))
def test_random_options_follow_the_formulas(seed):
    config, net, processes = draw(seed), network(), Processes()
    net(nn.Variable((1, 3, *SIZE)))
    rng = np.random.RandomState(seed)
    for parameter in nn.get_parameters().values():
        parameter.d = rng.standard_normal(parameter.shape).astype(np.float32)
    start = parameters_of()
    data = batches(seed, 5)
    position = iter(range(10**6))
    loader = SimpleNamespace(
        next=lambda: data[next(position) % len(data)], samples=[], state_dict=dict
    )
    hyperparameters = mpi_training.hyperparameters_of({'batch_size': 2, **config}, 100, 1)
    trainer = mpi_training.trainer_of(
        net, config, hyperparameters, loader, processes, SingleProcessCommunicator(processes)
    )
    losses = [trainer.step().loss for _ in range(STEPS)]
    found = parameters_of()
    with trainer.averaged_parameters():
        averages = parameters_of()
    expected_losses, values, expected_averages = expected(start, config, data)
    assert losses == pytest.approx(expected_losses, rel=1e-5), config
    for name, value in values.items():
        bound = BOUND * abs(value).max()
        assert abs(found[name] - value).max() < bound, (name, config)
        own = expected_averages if 'ema_decay' in config else values
        assert abs(averages[name] - own[name]).max() < bound, (name, config)
