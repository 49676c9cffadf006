"""Losses against plain numpy in float64, their gradients against numerical differentiation."""

import math
from dataclasses import dataclass

import nnabla as nn
import nnabla.functions as F
import numpy as np
import PIL.Image
import pytest

from common.errors import UserError
from common.sections import Section, config_key
from engine.config import schema
from engine.training import losses
from engine.training.losses import registry
from layers import functions as L

CLASSES = 4
WEIGHTS = [0.5, 2.0, 1.0, 0.25]


# The losses once more, from their definitions; logits (N, C, h, w) and labels (N, 1, H, W).


def expected_loss(outputs, labels, config):
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
    """Valid and ignored pixels of one size: logits (pixels, C), labels (pixels,)."""
    if config.get('loss_at') == 'logits':
        labels = np.stack([pillow_nearest(label[0], logits.shape[2:]) for label in labels])
    else:
        logits = bilinear(bilinear(logits, labels.shape[2]).swapaxes(2, 3), labels.shape[3])
        logits = logits.swapaxes(2, 3)
    return logits.transpose(0, 2, 3, 1).reshape(-1, logits.shape[1]), labels.ravel()


def bilinear(values, size):
    """Resized along the second last axis."""
    old = values.shape[2]
    at = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
    before = np.floor(at).astype(int)
    after = np.minimum(before + 1, old - 1)
    share = (at - before)[:, None]
    return values[:, :, before] * (1 - share) + values[:, :, after] * share


def pillow_nearest(label, size):
    picture = PIL.Image.fromarray(label.astype(np.int32))
    return np.array(picture.resize(size[::-1], PIL.Image.Resampling.NEAREST))


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def pixel_losses(logits, labels, config):
    """Of the valid pixels: losses, and weights of their classes."""
    weights = np.array(config.get('class_weights', [1.0] * CLASSES))
    smoothing = config.get('label_smoothing', 0.0)
    found, of_label = [], []
    for log_p, label in zip(np.log(softmax(logits)), labels):
        if label >= 0:
            target = np.full(CLASSES, smoothing / CLASSES)
            target[label] += 1 - smoothing
            found.append(-(target * weights * log_p).sum())
            of_label.append(weights[label])
    return np.array(found), np.array(of_label)


def expected_cross_entropy(logits, labels, config):
    found, weights = pixel_losses(logits, labels, config)
    total = len(labels) if config.get('loss_mean') == 'all' else weights.sum()
    return found.sum() / total if total else 0.0


def expected_ohem(logits, labels, config):
    valid = labels >= 0
    if not valid.any():
        return 0.0
    truth = softmax(logits)[valid, labels[valid]]
    minimum = np.sort(truth)[min(config['ohem_min_kept'], len(truth) - 1)]
    kept = truth < max(minimum, config.get('ohem_threshold', 0.9))
    return pixel_losses(logits, labels, config)[0][kept].mean() if kept.any() else 0.0


def expected_dice(logits, labels):
    valid = labels >= 0
    p, found = softmax(logits)[valid], []
    for index in set(labels[valid]):
        y = labels[valid] == index
        found.append(1 - 2 * p[y, index].sum() / (p[:, index].sum() + y.sum()))
    return np.mean(found) if found else 0.0


def expected_lovasz(logits, labels):
    """The Lovász extension of the Jaccard loss as a function of the set of wrong pixels."""
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


# The tests' data and the use of the module as a trainer uses it.


def random_outputs(*sizes, batch=2, seed=0):
    rng = np.random.RandomState(seed)
    outputs = [rng.randn(batch, CLASSES, *size) * 2 for size in sizes]
    return [logits.astype(np.float32).astype(np.float64) for logits in outputs]


def random_labels(size, batch=2, seed=1, ignored=0.3, classes=CLASSES):
    rng = np.random.RandomState(seed)
    labels = rng.randint(0, classes, (batch, 1, *size)).astype(np.int32)
    labels[rng.rand(*labels.shape) < ignored] = -1
    return labels


def train(config, outputs, labels, batches=None):
    """Loss, and gradients by the logits, of a batch that is cut into micro-batches."""
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


def check(config, outputs, labels, batches=None):
    loss, gradients = train(config, outputs, labels, batches)
    assert loss == pytest.approx(expected_loss(outputs, labels, config), rel=1e-5, abs=1e-7)
    for found, expected in zip(gradients, expected_gradients(outputs, labels, config)):
        assert found == pytest.approx(expected, rel=1e-4, abs=2e-7)
    return loss, gradients


EXACT = {  # the same however a batch is divided
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


@pytest.mark.parametrize('case', ALL)
def test_loss_and_gradient(case):
    check(ALL[case], random_outputs((4, 5)), random_labels((4, 5)))


@pytest.mark.parametrize('case', ALL)
@pytest.mark.parametrize('at', ('input', 'logits'))
def test_heads_of_lower_and_different_resolution(case, at):
    outputs = random_outputs((2, 3), (3, 2), (2, 3))
    config = {**ALL[case], 'loss_at': at, 'main_weight': 0.4, 'aux_weights': [0.5, 0.25]}
    check(config, outputs, random_labels((5, 7)))


@pytest.mark.parametrize('case', EXACT)
@pytest.mark.parametrize('at', ('input', 'logits'))
def test_micro_batches_add_up_to_the_batch(case, at):
    """The second image is ignored altogether, so the numbers of valid pixels differ."""
    outputs = random_outputs((3, 4), (2, 2), batch=4)
    labels = random_labels((6, 7), batch=4)
    labels[1] = -1
    config = {**EXACT[case], 'loss_at': at}
    whole = train(config, outputs, labels)
    for batches in ([1, 3], [1, 1, 2]):
        loss, gradients = train(config, outputs, labels, batches)
        assert loss == pytest.approx(whole[0], rel=1e-6)
        for found, expected in zip(gradients, whole[1]):
            assert found == pytest.approx(expected, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize('case', BY_MICRO_BATCH)
def test_micro_batches_weigh_by_their_valid_pixels(case):
    config = BY_MICRO_BATCH[case]
    outputs = random_outputs((4, 5), batch=4)
    labels = random_labels((4, 5), batch=4)
    labels[0, 0, :3] = -1
    loss, gradients = train(config, outputs, labels, [1, 3])
    expected = 0.0
    for share in (slice(0, 1), slice(1, 4)):
        weight = (labels[share] >= 0).sum() / (labels >= 0).sum()
        alone = train(config, [outputs[0][share]], labels[share])
        expected += weight * alone[0]
        assert gradients[0][share] == pytest.approx(weight * alone[1][0], rel=1e-5, abs=1e-8)
    assert loss == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize('case', ALL)
@pytest.mark.parametrize('batches', ([2], [1, 1]))
def test_a_batch_without_valid_pixels_teaches_nothing(case, batches):
    labels = np.full((2, 1, 4, 5), -1, np.int32)
    loss, gradients = train(ALL[case], random_outputs((4, 5), (2, 3)), labels, batches)
    assert loss == 0
    assert not any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize('case', ALL)
def test_a_micro_batch_without_valid_pixels_beside_others(case):
    outputs, labels = random_outputs((4, 5)), random_labels((4, 5))
    labels[1] = -1
    loss, gradients = train(ALL[case], outputs, labels, [1, 1])
    whole = train(ALL[case], outputs, labels)
    assert loss == pytest.approx(whole[0], rel=1e-5)
    assert gradients[0] == pytest.approx(whole[1][0], rel=1e-4, abs=1e-7)
    assert not gradients[0][1].any()


@pytest.mark.parametrize('case', ALL)
def test_an_objective_is_used_again_and_again(case):
    outputs = random_outputs((4, 5))
    variable = nn.Variable.from_numpy_array(outputs[0].astype(np.float32), need_grad=True)
    objective = losses.create(ALL[case], CLASSES).build([variable], (4, 5))
    for seed in (1, 2, 3):
        labels = random_labels((4, 5), seed=seed, ignored=0.2 * seed)
        objective.feed(labels, objective.counts(labels))
        objective.loss.forward(clear_no_need_grad=True)
        objective.loss.backward(clear_buffer=True)
        expected = expected_loss(outputs, labels, ALL[case])
        assert objective.loss.d.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('size', ((1, 1), (1, 7), (37, 41), (1, 1031), (64, 96)))
@pytest.mark.parametrize('case', ('default', 'smoothing, weights', 'ohem', 'dice'))
def test_maps_of_every_size(case, size):
    """Sizes that are folded more than once, and with prime factors."""
    outputs, labels = random_outputs(size), random_labels(size)
    labels[0, 0, 0, 0] = 1
    loss, _ = train(ALL[case], outputs, labels)
    assert loss == pytest.approx(expected_loss(outputs, labels, ALL[case]), rel=2e-5)


def test_what_parts_have_in_common_is_counted_once(monkeypatch):
    counted = []

    def count(labels):
        counted.append(labels.shape)
        return np.count_nonzero(labels >= 0)

    monkeypatch.setattr('engine.training.losses.head.count_valid', count)
    criterion = losses.create({'dice_weight': 1.0, 'loss_at': 'logits'}, CLASSES)
    sizes = (8, 8), (8, 8), (4, 4)
    outputs = [nn.Variable((2, CLASSES, *size)) for size in sizes]
    labels = random_labels((8, 8))
    found = criterion.build(outputs, (8, 8)).counts(labels)
    valid = np.count_nonzero(labels >= 0)
    assert found[:3].tolist() == [valid] * 3
    assert counted == [(2, 1, 8, 8), (2, 1, 4, 4)]


# OHEM


def ohem(threshold, min_kept):
    return {'loss': 'ohem', 'ohem_threshold': threshold, 'ohem_min_kept': min_kept}


@pytest.mark.parametrize('min_kept', (1, 3, 12, 13, 14, 19, 20, 21, 1000))
@pytest.mark.parametrize('threshold', (1e-6, 0.5, 1.0))
@pytest.mark.parametrize('valid', (1, 2, 13, 14, 20))
def test_ohem_keeps_what_the_original_keeps(threshold, min_kept, valid):
    """Fewer valid pixels than are to be kept, as many, more; the threshold above them or below."""
    labels = random_labels((4, 5), batch=1, ignored=0)
    labels.flat[np.random.RandomState(3).permutation(20)[valid:]] = -1
    check(ohem(threshold, min_kept), random_outputs((4, 5), batch=1), labels)


def test_ohem_with_its_defaults_keeps_everything_uncertain():
    """131072 are more than there are: all but those above both the threshold and all others."""
    outputs, labels = random_outputs((4, 5)), random_labels((4, 5))
    loss, _ = train({'loss': 'ohem'}, outputs, labels)
    assert loss == pytest.approx(expected_loss(outputs, labels, ohem(0.9, 131072)), rel=1e-5)


def test_ohem_without_a_hard_pixel_is_zero():
    """The original's mean over no pixel is NaN."""
    labels = random_labels((4, 5), ignored=0.2)
    certain = np.where(np.arange(CLASSES).reshape(1, -1, 1, 1) == labels, 200.0, 0.0)
    loss, gradients = train(ohem(0.9, 3), [certain], labels)
    assert loss == 0
    assert not gradients[0].any()


def test_auxiliary_heads_are_not_mined():
    outputs, labels = random_outputs((4, 5), (4, 5)), random_labels((4, 5))
    config = {**ohem(0.1, 3), 'aux_weights': [1.0]}
    alone = train(ohem(0.1, 3), outputs[:1], labels)[0]
    plain = train({}, outputs[1:], labels)[0]
    assert train(config, outputs, labels)[0] == pytest.approx(alone + plain, rel=1e-6)


# Heads, resolutions, contexts, mistakes


def test_auxiliary_heads_weigh_two_fifths_by_default():
    outputs, labels = random_outputs((4, 5), (4, 5), (4, 5)), random_labels((4, 5))
    main, *others = (train({}, [logits], labels)[0] for logits in outputs)
    assert train({}, outputs, labels)[0] == pytest.approx(main + 0.4 * sum(others), rel=1e-6)


def test_one_weight_serves_all_auxiliary_heads():
    outputs, labels = random_outputs((4, 5), (4, 5), (4, 5)), random_labels((4, 5))
    same = train({'aux_weights': [0.3]}, outputs, labels)[0]
    assert same == train({'aux_weights': [0.3, 0.3]}, outputs, labels)[0]


@pytest.mark.parametrize(('weights', 'heads'), (([0.4], 0), ([0.4, 0.4], 1), ([0.4, 0.4], 3)))
def test_wrong_number_of_auxiliary_weights(weights, heads):
    with pytest.raises(UserError, match=f'^aux_weights: {len(weights)} given'):
        outputs = random_outputs(*[(4, 5)] * (heads + 1))
        train({'aux_weights': weights}, outputs, random_labels((4, 5)))


@pytest.mark.parametrize(
    ('config', 'message'),
    (
        ({'class_weights': [1.0, 2.0]}, '^class_weights: 2 values for 4 classes'),
        ({'loss': 'ohem', 'loss_mean': 'all'}, '^loss_mean: '),
    ),
)
def test_mistakes_name_the_key(config, message):
    with pytest.raises(UserError, match=message):
        losses.create(config, CLASSES)


@pytest.mark.parametrize('old', range(1, 40, 3))
@pytest.mark.parametrize('new', (1, 2, 3, 5, 8))
def test_labels_are_subsampled_at_the_centres(old, new):
    """One row of 0, 1, 2...; the loss shows which labels are met."""
    new = min(new, old)
    labels = np.arange(old, dtype=np.int32).reshape(1, 1, 1, old)
    logits = nn.Variable.from_numpy_array(np.zeros((1, old, 1, new), np.float32), need_grad=True)
    logits.grad.zero()
    objective = losses.create({'loss_at': 'logits'}, old).build([logits], (1, old))
    objective.feed(labels, objective.counts(labels))
    objective.loss.forward()
    objective.loss.backward()
    expected = [math.floor((i + 0.5) * (old / new)) for i in range(new)]
    if old > 1:
        assert list(logits.g[0, :, 0].argmin(axis=0)) == expected


def test_half_precision_stays_out_of_the_loss():
    """A context of a GPU in half precision, as nnabla_ext.cudnn makes it."""
    x = nn.Variable((1, CLASSES, 2, 2), need_grad=True)
    objective = losses.create({'lovasz_weight': 1.0}, CLASSES).build(
        [x], (4, 4), nn.Context(['cpu:half', 'cpu:float'], 'CpuCachedArray', '0')
    )
    found = []
    objective.loss.visit(lambda f: found.append(f.context.backend))
    assert found
    assert all(backend == ['cpu:float'] for backend in found)


# Losses of one's own


@dataclass(frozen=True, kw_only=True)
class FocalKeys(Section):
    focal_gamma: float = config_key(2.0, 'exponent', least=0)


@dataclass(frozen=True, kw_only=True)
class ScarceKeys(Section):
    scarce_weight: float = config_key(0.0, 'weight', least=0)
    scarce_class: int = config_key(0, 'number of the class', least=0)


def focal(head, keys):
    miss = F.exp(head.cross_entropy * -1) * -1 + 1
    return head.mean(head.pixel_losses * F.pow_scalar(miss, keys.focal_gamma))


def scarce(head, keys):
    """The mean cross entropy of one class."""

    def count(labels):
        return np.count_nonzero(labels == keys.scarce_class)

    its_own = head.targets.add(head.targets.shape, lambda labels: labels == keys.scarce_class)
    return losses.MicroBatchLoss(L.mean_all(head.cross_entropy * its_own), count, np.size)


@dataclass(frozen=True, kw_only=True)
class EagerKeys(Section):
    """Of a term that would take part although no config says so."""

    eager_weight: float = config_key(1.0, 'weight of the eager loss', least=0)


@pytest.fixture
def own_losses():
    """They are registered as a module of ``--import`` does it."""
    losses.register(losses.PixelLoss('focal', FocalKeys, focal))
    losses.register(losses.Term('scarce', ScarceKeys, scarce))
    yield
    del registry.PIXEL_LOSSES._parts['focal'], registry.TERMS._parts['scarce']


OWN = {'loss': 'focal', 'focal_gamma': 3.0, 'scarce_weight': 0.5, 'scarce_class': 1}


def test_a_loss_of_ones_own_is_computed_and_adds_up_over_micro_batches(own_losses):
    outputs, labels = random_outputs((4, 5), batch=4), random_labels((4, 5), batch=4)
    labels[1] = -1
    whole, gradients = train(OWN, outputs, labels)
    p = softmax(outputs[0].transpose(0, 2, 3, 1).reshape(-1, CLASSES))
    of_pixels = labels.ravel()
    p_true = p[np.arange(len(p)), of_pixels]
    valid, its_own = of_pixels >= 0, of_pixels == 1
    expected = np.mean((-((1 - p_true) ** 3) * np.log(p_true))[valid])
    expected += 0.5 * np.mean(-np.log(p_true)[its_own])
    assert whole == pytest.approx(expected, rel=1e-5)
    for batches in ([1, 3], [1, 1, 2]):
        loss, shares = train(OWN, outputs, labels, batches)
        assert loss == pytest.approx(whole, rel=1e-6)
        assert shares[0] == pytest.approx(gradients[0], rel=1e-5, abs=1e-8)


def test_the_keys_of_a_loss_of_ones_own_are_keys_of_a_config(own_losses):
    keys = schema.keys_for({'network': 'd3net'})
    assert 'focal' in keys['loss'].choices
    assert keys['focal_gamma'].convert('3') == 3.0
    assert '  scarce_class: whole number, at least 0; default: 0\n      number of the class' in (
        schema.reference()
    )


@pytest.mark.parametrize(
    ('loss', 'message'),
    (
        (losses.PixelLoss('ohem', FocalKeys, focal), 'a loss called ohem is registered already'),
        (losses.Term('dice', ScarceKeys, scarce), '.* ScarceKeys needs the key dice_weight with'),
        (losses.Term('eager', EagerKeys, scarce), '.* EagerKeys needs the key eager_weight with'),
    ),
)
def test_what_cannot_be_registered(loss, message):
    with pytest.raises(UserError, match=f'^{message}'):
        losses.register(loss)
