"""Compute training losses from their definitions in NumPy and float64, and create test data.

Logits are (N, C, h, w), labels (N, 1, H, W).
"""

import nnabla as nn
import numpy as np
import PIL.Image
import pytest

from engine.training import losses

CLASSES = 4
WEIGHTS = [0.5, 2.0, 1.0, 0.25]
# Losses that do not depend on how a batch is divided into micro-batches.
EXACT = {
    'default': {},
    'all': {'loss_mean': 'all'},
    'weights': {'class_weights': WEIGHTS},
    'weights, all': {'class_weights': WEIGHTS, 'loss_mean': 'all'},
    'smoothing': {'label_smoothing': 0.1},
    'smoothing, weights': {'label_smoothing': 0.2, 'class_weights': WEIGHTS},
    'smoothing, weights, all': {
        'label_smoothing': 0.2,
        'class_weights': WEIGHTS,
        'loss_mean': 'all',
    },
    'a class without weight': {'class_weights': [1.0, 0.0, 1.0, 1.0]},
}
# Losses computed for each micro-batch; their mean is weighted by the numbers of valid pixels.
BY_MICRO_BATCH = {
    'ohem': {'loss': 'ohem', 'ohem_min_kept': 6, 'ohem_threshold': 0.1},
    'ohem, weights, smoothing': {
        'loss': 'ohem',
        'ohem_min_kept': 6,
        'ohem_threshold': 0.1,
        'class_weights': WEIGHTS,
        'label_smoothing': 0.1,
    },
    'dice': {'dice_weight': 0.7},
    'lovasz': {'lovasz_weight': 0.7},
    'everything': {
        'loss': 'ohem',
        'ohem_min_kept': 6,
        'dice_weight': 0.5,
        'lovasz_weight': 2.0,
        'class_weights': WEIGHTS,
    },
}
ALL = EXACT | BY_MICRO_BATCH


def expected_loss(outputs, labels, config):
    """Return the loss of a batch for the outputs ``[main, aux1, ...]``."""
    main, *auxiliary = (fit(logits, labels, config) for logits in outputs)
    if config.get('loss') == 'ohem':
        loss = expected_ohem(*main, config)
    else:
        loss = expected_cross_entropy(*main, config)
    loss *= config.get('main_weight', 1.0)
    weights = config.get('aux_weights', [0.4])
    for logits_labels, weight in zip(auxiliary, weights * (len(auxiliary) // len(weights))):
        loss += weight * expected_cross_entropy(*logits_labels, config)
    for key, term in (('dice_weight', expected_dice), ('lovasz_weight', expected_lovasz)):
        if key in config:
            loss += config[key] * term(*main)
    return loss


def fit(logits, labels, config):
    """Return logits (pixels, C) and labels (pixels,) at the resolution of the loss."""
    if config.get('loss_at') == 'logits':
        labels = np.stack([pillow_nearest(label[0], logits.shape[2:]) for label in labels])
    else:
        logits = resize_rows(logits, labels.shape[2]).swapaxes(2, 3)
        logits = resize_rows(logits, labels.shape[3]).swapaxes(2, 3)
    return logits.transpose(0, 2, 3, 1).reshape(-1, logits.shape[1]), labels.ravel()


def resize_rows(values, size):
    """Interpolate linearly along axis 2, (N, C, h, w) -> (N, C, size, w)."""
    old = values.shape[2]
    at = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
    before = np.floor(at).astype(int)
    after = np.minimum(before + 1, old - 1)
    share = (at - before)[:, None]
    return values[:, :, before] * (1 - share) + values[:, :, after] * share


def pillow_nearest(label, size):
    """Resize labels with Pillow."""
    picture = PIL.Image.fromarray(label.astype(np.int32))
    return np.array(picture.resize(size[::-1], PIL.Image.Resampling.NEAREST))


def softmax(logits):
    """Return probabilities (pixels, C)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def pixel_losses(logits, labels, config):
    """Return the losses of the valid pixels, and the weights of their classes."""
    weights = np.array(config.get('class_weights', [1.0] * CLASSES))
    smoothing = config.get('label_smoothing', 0.0)
    valid = labels >= 0
    target = np.eye(CLASSES)[labels[valid]] * (1 - smoothing) + smoothing / CLASSES
    losses_of_pixels = -(target * weights * np.log(softmax(logits[valid]))).sum(axis=1)
    return losses_of_pixels, weights[labels[valid]]


def expected_cross_entropy(logits, labels, config):
    """Return the mean cross entropy."""
    found, weights = pixel_losses(logits, labels, config)
    total = len(labels) if config.get('loss_mean') == 'all' else weights.sum()
    return found.sum() / total if total else 0.0


def expected_ohem(logits, labels, config):
    """Return the mean loss of the hard pixels."""
    valid = labels >= 0
    if not valid.any():
        return 0.0
    truth = softmax(logits)[valid, labels[valid]]
    minimum = np.sort(truth)[min(config['ohem_min_kept'], len(truth) - 1)]
    kept = truth < max(minimum, config.get('ohem_threshold', 0.9))
    return pixel_losses(logits, labels, config)[0][kept].mean() if kept.any() else 0.0


def expected_dice(logits, labels):
    """Return the soft Dice loss."""
    valid = labels >= 0
    p, found = softmax(logits)[valid], []
    for index in set(labels[valid]):
        y = labels[valid] == index
        found.append(1 - 2 * p[y, index].sum() / (p[:, index].sum() + y.sum()))
    return np.mean(found) if found else 0.0


def expected_lovasz(logits, labels):
    """Return the mean over classes of the Lovász extension of the Jaccard loss.

    The Jaccard loss is a function of the set of wrong pixels.
    """
    valid = labels >= 0
    p, found = softmax(logits)[valid], []
    for index in set(labels[valid]):
        pixels = set(np.flatnonzero(labels[valid] == index))
        errors = [abs((i in pixels) - p[i, index]) for i in range(len(p))]
        wrong, before, loss = set(), 0.0, 0.0
        for i in sorted(range(len(p)), key=lambda i: -errors[i]):
            wrong.add(i)
            jaccard_loss = 1 - len(pixels - wrong) / len(pixels | wrong)
            loss += errors[i] * (jaccard_loss - before)
            before = jaccard_loss
        found.append(loss)
    return np.mean(found) if found else 0.0


def expected_gradients(outputs, labels, config, step=1e-6):
    """Return the gradients of :func:`expected_loss` by numerical differentiation.

    Args:
        outputs: Float64 logits ``[main, aux1, ...]``.
        labels: (N, 1, H, W), -1 where ignored.
        config: Config keys of the losses.
        step: Change of a logit to each side.

    Returns:
        One gradient for each array of logits.
    """
    gradients = [np.zeros(logits.shape) for logits in outputs]
    for logits, gradient in zip(outputs, gradients):
        for place in np.ndindex(logits.shape):
            value = logits[place]
            logits[place] = value + step
            above = expected_loss(outputs, labels, config)
            logits[place] = value - step
            below = expected_loss(outputs, labels, config)
            logits[place] = value
            gradient[place] = (above - below) / (2 * step)
    return gradients


def random_outputs(*sizes, batch=2, seed=0):
    """Return seeded logits for each size, with values that float32 represents exactly."""
    rng = np.random.RandomState(seed)
    outputs = [rng.randn(batch, CLASSES, *size) * 2 for size in sizes]
    return [logits.astype(np.float32).astype(np.float64) for logits in outputs]


def random_labels(size, batch=2, seed=1, ignored=0.3, classes=CLASSES):
    """Return seeded labels, (batch, 1, H, W) int32, -1 where ignored.

    Args:
        size: (H, W) of the labels.
        batch: Number of label maps.
        seed: Seed of the random numbers.
        ignored: Expected share of ignored pixels, from 0 to 1.
        classes: Number of classes.
    """
    rng = np.random.RandomState(seed)
    labels = rng.randint(0, classes, (batch, 1, *size)).astype(np.int32)
    labels[rng.rand(*labels.shape) < ignored] = -1
    return labels


def compute(config, outputs, labels, batches=None):
    """Compute the loss of a batch and its gradients with respect to the logits.

    Args:
        config: Config keys of the losses.
        outputs: Logits ``[main, aux1, ...]``.
        labels: (N, 1, H, W), -1 where ignored.
        batches: Sizes of the micro-batches; by default one with all images.

    Returns:
        The loss, and one gradient for each array of logits.
    """
    criterion = losses.create(config, CLASSES)
    edges = np.cumsum([0, *(batches or [len(labels)])])
    shares = [slice(*edge) for edge in zip(edges, edges[1:])]
    prepared = []
    for share in shares:
        variables = [
            nn.Variable.from_numpy_array(logits[share].astype(np.float32), need_grad=True)
            for logits in outputs
        ]
        for variable in variables:
            variable.grad.zero()
        prepared.append((variables, criterion.build(variables, labels.shape[2:])))
    totals = sum(objective.counts(labels[s]) for s, (_, objective) in zip(shares, prepared))
    loss = 0.0
    for share, (_, objective) in zip(shares, prepared):
        objective.feed(labels[share], totals)
        objective.loss.forward(clear_no_need_grad=True)
        objective.loss.backward(clear_buffer=True)
        assert objective.loss.shape == (1,)
        assert objective.loss.d.dtype == np.float32
        loss += objective.loss.d.item()
    gradients = [np.concatenate([v.g for v in heads]) for heads in zip(*(p[0] for p in prepared))]
    return loss, gradients


def assert_expected(config, outputs, labels, batches=None):
    """Assert that loss and gradients equal the expected ones; return the computed ones.

    Args:
        config: Config keys of the losses.
        outputs: Logits ``[main, aux1, ...]``.
        labels: (N, 1, H, W), -1 where ignored.
        batches: Sizes of the micro-batches; by default one with all images.
    """
    loss, gradients = compute(config, outputs, labels, batches)
    assert loss == pytest.approx(expected_loss(outputs, labels, config), rel=1e-5, abs=1e-7)
    for found, expected in zip(gradients, expected_gradients(outputs, labels, config)):
        assert found == pytest.approx(expected, rel=1e-4, abs=2e-7)
    return loss, gradients
