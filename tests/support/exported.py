"""Create networks with seeded parameters, and compare their exported files with NNabla."""

import nnabla as nn
import numpy as np
import onnxruntime

import models
from layers import functions as L
from support import stand_ins

# Hyper-parameters and constants that make a family's networks narrow; its graphs stay the same.
NARROW = {
    'ddrnet': dict(planes=4, spp_planes=4, head_planes=4),
    'csail': dict(num_classes=5),
    'upernet': dict(num_classes=5, fpn_dim=16),
}


def sizes_of(network):
    """Return the smallest size of a network, and a slightly larger one.

    The larger size is oblong, and odd if the network accepts odd sizes.
    """
    step = network.info.size_divisor
    least = -(-network.info.smallest_size // step) * step
    return (least, least), ((least + 4, least + 1) if step == 1 else (least, least + step))


def prepared(name, **hyper):
    """Return a network with seeded parameters."""
    network = models.create(name, **hyper)
    with stand_ins.zero_parameters():
        network(nn.Variable((1, 3, *sizes_of(network)[0])))
    stand_ins.randomize_parameters()
    return network


def prepared_narrow(name):
    """Return a network with seeded parameters, narrowed if its family has such arguments."""
    family = 'upernet' if 'upernet' in name else name.split('_')[0].rstrip('0123456789')
    return prepared(name, **NARROW.get(family, {}))


def tiny():
    """Return a tiny D3Net with seeded parameters."""
    network = stand_ins.tiny()
    network(nn.Variable((1, 3, 64, 64)))
    stand_ins.randomize_parameters()
    return network


def logits_of(network, x):
    """Compute the logits of images (N, 3, H, W) with NNabla, one image after the other."""
    results = []
    for each in x:
        image = nn.Variable.from_numpy_array(each[None])
        y = L.resize(network(image)[0], each.shape[1:])
        y.forward(clear_buffer=True)
        results.append(y.d[0].copy())
    return np.stack(results)


def images(count, height, width):
    """Return seeded normalised images (count, 3, height, width)."""
    return np.random.RandomState(5).randn(count, 3, height, width).astype(np.float32)


def run_onnx(path, *batches):
    """Run an ONNX file with ONNX Runtime in one thread; return one result, or one per batch."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
    results = [session.run(None, {'image': x})[0] for x in batches]
    return results if len(results) > 1 else results[0]


def assert_same(result, expected):
    """Compare two arrays with a tolerance of 1e-4 of the largest expected value."""
    # pytest.approx compares element by element and takes seconds.
    tolerance = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(result, expected, rtol=0, atol=tolerance, equal_nan=False)
