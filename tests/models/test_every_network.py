"""Every network of the registry: inference, infer.py, training and builds, in `make test-all` only.

Inference runs at the network's smallest size, infer.py at a size that few networks accept.
"""

import cv2
import nnabla as nn
import nnabla.functions as F
import numpy as np
import pytest
import yaml

import models
from common import PROJECT
from datasets import image_files
from datasets.loading import transforms
from engine.inference.predictor import Predictor
from layers import functions as L
from models import complexity
from support import stand_ins
from support.infer_runs import started

pytestmark = [pytest.mark.whole_registry, pytest.mark.long, pytest.mark.timeout(1200)]

STEPS = 3
LOSS_REDUCTIONS = 2e-3, 2e-4, 4e-5  # of a step, as shares of the loss, by the gradient
# At the smallest sizes, batch norms over two values a channel multiply gradients, up to infinity.
TRAINED_AT = {'csail': (64, 64)}  # the most expensive family; the others at 128x128 or larger
GPU_BUILDS = (
    {'cuda': True},
    {'cuda': True, 'train': True},
    {'cuda': True, 'channel_last': True},
    {'cuda': True, 'channel_last': True, 'train': True},
)


def create(name):
    return models.create(name, **(stand_ins.TINY if name == 'd3net' else {}))


def smallest_size(network):
    return complexity.nearest_size(network.info, (1, 1))


def awkward_size(network):
    """Return an odd size, or odd multiples, far from square; less so for large multiples."""
    step, smallest = network.info.size_divisor, smallest_size(network)[0]
    if step == 1:
        return smallest | 1, (smallest | 1) + 38
    return (3 * step, 5 * step) if step <= 32 else (smallest, smallest + step)


def registered():
    """Return the shape of every registered parameter, and whether it is trained."""
    return {n: (p.shape, p.need_grad) for n, p in nn.get_parameters(grad_only=False).items()}


def noise(*shape, seed=0):
    return nn.Variable.from_numpy_array(
        np.random.RandomState(seed).standard_normal(shape).astype(np.float32)
    )


@pytest.mark.parametrize('name', models.names())
def test_inference_and_saved_weights_through_infer(name, tmp_path):
    """Logits are finite, with one channel for each class, and infer.py gives the same labels.

    infer.py takes the weights from a file and the network from a config. It pads an image of an
    illegal size, for some networks by several times the image, and crops the result. `make test`
    does this for some networks of each family in tests/configs.
    """
    network, size = create(name), (67, 91)
    with stand_ins.zero_parameters():
        predictor = Predictor(network)
    stand_ins.randomize_parameters()
    smallest = noise(1, 3, *smallest_size(network))
    before = finite(network, network(smallest)[0])
    finite(network, network(noise(1, 3, *awkward_size(network)))[0])
    image, expected = stand_ins.image(*size), registered()
    logits = predictor.logits(image)
    assert logits.shape == (network.info.num_classes, *size)
    assert np.isfinite(logits).all()

    image_files.write_image(tmp_path / 'image.png', image)
    keys = {'network': name, **(stand_ins.TINY if name == 'd3net' else {})}
    (tmp_path / 'own.yaml').write_text(yaml.safe_dump(keys))
    models.weights.save(tmp_path / 'own.h5')
    paths = {'-i': 'image.png', '-cfg': 'own.yaml', '-m': 'own.h5', '-o': 'picture.png'}
    options = [part for option, file in paths.items() for part in (option, tmp_path / file)]
    with stand_ins.zero_parameters():
        assert started(*options, '-c', 'cpu', '--backend', 'nnabla', '--save-labels') == 0
    (tmp_path / 'own.h5').unlink()  # up to 600 MB in a folder that pytest keeps
    labels = cv2.imread(str(tmp_path / 'picture_labels.png'), cv2.IMREAD_UNCHANGED)
    assert (labels.shape, labels.dtype) == (size, np.uint8)
    assert np.array_equal(labels, logits.argmax(axis=0))
    assert registered() == expected
    np.testing.assert_array_equal(finite(network, network(smallest)[0]), before)


def finite(network, logits):
    logits.forward(clear_buffer=True)
    assert logits.shape[1] == network.info.num_classes
    assert np.isfinite(logits.d).all()
    return logits.d.copy()


@pytest.mark.parametrize('name', models.names())
def test_training_on_real_images(name):
    """Every trainable parameter has a gradient, and each step along it reduces the loss.

    Untrained networks are steep, so a step that is too long is repeated with a shorter one. DABNet
    starts with gammas of 0; the layers behind them have gradients from the second step on.
    """
    nn.seed(0)
    network = create(name)
    size = complexity.nearest_size(network.info, TRAINED_AT.get(network.family.name, (128, 128)))
    # Where the last maps are single pixels, or resized from single pixels, as in UPerNet's pyramid.
    batch = 4 if size == smallest_size(network) or 'upernet' in name else 2
    images, labels = photos(batch, size, network.info)
    outputs = network(nn.Variable.from_numpy_array(images), train=True, dropout=False)
    loss = sum(cross_entropy(logits, labels) for logits in outputs)
    loss.persistent = True
    parameters = nn.get_parameters()
    losses, untouched = [evaluate(loss)], set(parameters)
    for _ in range(STEPS):
        evaluate(loss)
        for parameter in parameters.values():
            parameter.grad.zero()
        loss.backward(clear_buffer=True)
        gradients = {n: p.g.copy() for n, p in parameters.items()}
        assert [n for n, gradient in gradients.items() if not np.isfinite(gradient).all()] == []
        untouched -= {n for n, gradient in gradients.items() if np.any(gradient)}
        losses.append(descend(loss, parameters, gradients, losses[-1]))
    assert untouched == set()
    assert all(later < earlier for earlier, later in zip(losses, losses[1:])), losses
    values = nn.get_parameters(grad_only=False)
    assert [n for n, p in values.items() if not np.isfinite(p.d).all()] == []


def photos(count, size, info):
    """Return pieces of a real photo as input, and the brightness of each pixel as its class."""
    photo = image_files.read_image(PROJECT / 'resources' / 'street.jpg')
    pieces = [np.roll(photo, 90 * i, axis=1)[:, : photo.shape[1] // 2] for i in range(count)]
    pieces = [cv2.resize(piece, size[::-1], interpolation=cv2.INTER_AREA) for piece in pieces]
    images = [transforms.normalise(p, info.mean, info.std, info.channel_order) for p in pieces]
    labels = [p.mean(axis=2) * info.num_classes // 256 for p in pieces]
    return np.stack(images), np.stack(labels).astype(np.int32)[:, None]


def evaluate(loss):
    loss.forward(clear_no_need_grad=True)
    return float(loss.d.item())


def descend(loss, parameters, gradients, latest):
    """Step along the gradient, as far as it predicts a small reduction of the loss.

    Returns:
        The first smaller loss, or the last one tried.
    """
    before = {name: parameter.d.copy() for name, parameter in parameters.items()}
    square = sum(np.square(g, dtype=np.float64).sum() for g in gradients.values())
    for reduction in LOSS_REDUCTIONS:
        for name, parameter in parameters.items():
            parameter.d = before[name] - np.float32(reduction * latest / square) * gradients[name]
        new = evaluate(loss)
        if new < latest:
            break
    return new


def cross_entropy(logits, labels):
    rows, columns = (
        (np.arange(new) * old) // new for new, old in zip(logits.shape[2:], labels.shape[2:])
    )
    targets = nn.Variable.from_numpy_array(labels[:, :, rows[:, None], columns])
    return L.mean_all(F.softmax_cross_entropy(logits, targets, axis=1))


@pytest.mark.parametrize('name', models.names())
def test_graphs_for_gpus_have_the_same_parameters(name):
    network = create(name)
    x = nn.Variable((2, 3, *smallest_size(network)))
    with stand_ins.zero_parameters():
        outputs = network(x, aux=True)
        expected, shapes = registered(), [logits.shape for logits in outputs]
        for options in GPU_BUILDS:
            nn.clear_parameters()
            outputs = network(x, **{'aux': True, **options})
            assert registered() == expected, options
            assert [logits.shape for logits in outputs] == shapes, options
