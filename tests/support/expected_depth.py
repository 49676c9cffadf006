"""Compute losses of depths from their definitions in NumPy and float64, and create test data.

Predictions and depths are (N, 1, H, W) in metres; a depth of 0 is unknown.
"""

import threading

import nnabla as nn
import numpy as np

from engine.training.losses.depth_criterion import DepthCriterion

PARTS = ('depth_l1_weight', 'depth_scale_weight', 'depth_variance_weight', 'depth_silog_weight')


def only(**weights):
    """Return keys that set all weights but these to 0."""
    return {**dict.fromkeys(PARTS, 0.0), **weights}


# Losses that do not depend on how a batch is divided into micro-batches.
EXACT = {
    'smooth L1': only(depth_l1_weight=0.7),
    'silog': only(depth_silog_weight=1.5),
    'silog, root': only(depth_silog_weight=10.0) | {'depth_silog_root': True},
    'silog, lambda': only(depth_silog_weight=1.0) | {'depth_silog_lambda': 0.85},
}
# Losses of the moments of a backward pass over all processes.
OF_PASS = {
    'scale': only(depth_scale_weight=0.7),
    'variance': only(depth_variance_weight=0.7),
    'default': {},
    'everything': {'depth_silog_weight': 2.0, 'depth_silog_root': True},
}
ALL = EXACT | OF_PASS


def golden_inputs(golden):
    """Return the prediction and the depths that the original's values belong to."""
    shape = tuple(golden['shape'])
    rng = np.random.RandomState(golden['seed'])
    metres = rng.uniform(0, 100, shape)
    metres[rng.rand(*shape) < 0.3] = 0
    prediction = metres + rng.randn(*shape) * 5 + 1
    prediction, metres = prediction.astype(np.float32), metres.astype(np.float32)
    check = golden['check']
    assert prediction.ravel()[:4].tolist() == check['prediction_first4']
    assert np.count_nonzero(metres) == check['valid']
    return prediction, metres


def random_depths(size, batch=2, seed=0):
    """Return seeded predictions and depths, some of them unknown."""
    rng = np.random.RandomState(seed)
    metres = rng.uniform(1, 80, (batch, 1, *size))
    prediction = np.maximum(metres * rng.uniform(0.7, 1.4, metres.shape) + rng.randn(), 0.3)
    metres[rng.rand(*metres.shape) < 0.3] = 0
    return prediction.astype(np.float32), metres.astype(np.float32)


def expected_loss(prediction, metres, config):
    """Return the loss of a batch as one backward pass of one process."""
    p, t = prediction.astype(np.float64), metres.astype(np.float64)
    known = t > 0
    if not known.any():
        return 0.0
    e = (p - t)[known]
    mean = e.mean()
    huber = np.where(np.abs(e) < 1, e**2 / 2, np.abs(e) - 0.5)
    loss = config.get('depth_l1_weight', 0.125) * huber.mean()
    scale = (mean**2 + 1e-6) ** 0.45 - 1e-6**0.45
    loss += config.get('depth_scale_weight', 0.125) * scale
    variance = ((e - mean) ** 2).sum() / max(len(e) - 1, 1)
    loss += config.get('depth_variance_weight', 4.0) * variance
    return loss + config.get('depth_silog_weight', 0.0) * expected_silog(p, t, config)


def expected_silog(p, t, config):
    """Return the scale-invariant loss of the images that have a known pixel."""
    found = []
    for prediction, depths in zip(p, t):
        known = depths > 0
        if known.any():
            below = np.log(0.1) + (prediction - 0.1) / 0.1
            logs = np.where(prediction < 0.1, below, np.log(np.maximum(prediction, 0.1)))
            d = logs[known] - np.log(depths[known])
            value = (d**2).mean() - config.get('depth_silog_lambda', 0.5) * d.mean() ** 2
            found.append(np.sqrt(max(value, 1e-8)) if config.get('depth_silog_root') else value)
    return np.mean(found)


def expected_gradient(prediction, metres, config, step=1e-5):
    """Return the gradient of :func:`expected_loss` by numerical differentiation."""
    prediction = prediction.astype(np.float64)
    gradient = np.zeros(prediction.shape)
    for place in np.ndindex(prediction.shape):
        value, found = prediction[place], []
        for moved in (value + step, value - step):
            prediction[place] = moved
            found.append(expected_loss(prediction, metres, config))
        prediction[place] = value
        gradient[place] = (found[0] - found[1]) / (2 * step)
    return gradient


def compute(config, prediction, metres, batches=None, build=None):
    """Compute the loss of a batch and its gradient with respect to the prediction.

    Args:
        config: Config keys of the losses.
        prediction: (N, 1, h, w).
        metres: (N, 1, H, W).
        batches: Sizes of the micro-batches, computed in one backward pass each; by default one.
        build: Further arguments of ``build``.
    """
    shares = _shares(metres, batches)
    prepared = [_built(config, prediction[s], metres.shape[2:], build or {}) for s in shares]
    totals = sum(o.counts(metres[s]) for s, (_, o) in zip(shares, prepared))
    found = [_run(x, o, metres[s], totals) for s, (x, o) in zip(shares, prepared)]
    return sum(loss for loss, _ in found), np.concatenate([gradient for _, gradient in found])


def compute_in_threads(config, prediction, metres, batches):
    """Return the sum of the losses, and the gradients, of threads that stand for processes.

    Each has one of the micro-batches; they add up in one backward pass.
    """
    shares, lock = _shares(metres, batches), threading.Barrier(len(batches))
    places: dict[int, np.ndarray] = {}

    def total(array):
        places[threading.get_ident()] = array
        lock.wait()
        result = sum(places.values())
        lock.wait()
        return result

    prepared = [_built(config, prediction[s], metres.shape[2:], {'total': total}) for s in shares]
    totals = sum(o.counts(metres[s]) for s, (_, o) in zip(shares, prepared))
    found = {}

    def work(number):
        variable, objective = prepared[number]
        found[number] = _run(variable, objective, metres[shares[number]], totals)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(shares))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    losses, gradients = zip(*(found[n] for n in range(len(shares))))
    return sum(losses), np.concatenate(gradients)


def _shares(metres, batches):
    edges = np.cumsum([0, *(batches or [len(metres)])])
    return [slice(*edge) for edge in zip(edges, edges[1:])]


def _built(config, prediction, size, build):
    variable = nn.Variable.from_numpy_array(prediction.copy(), need_grad=True)
    variable.grad.zero()
    return variable, DepthCriterion.of(config).build([variable], size, **build)


def _run(variable, objective, metres, totals):
    objective.feed(metres, totals)
    objective.loss.forward(clear_no_need_grad=True)
    objective.loss.backward(clear_buffer=True)
    assert objective.loss.shape == (1,)
    return objective.loss.d.item(), variable.g.copy()
