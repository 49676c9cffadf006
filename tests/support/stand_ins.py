"""Seeded stand-ins: a tiny network, parameters, images, and graphs in the other layout."""

import importlib.util
from contextlib import ExitStack, contextmanager
from unittest import mock

import nnabla as nn
import nnabla.function_bases as function_bases
import nnabla.initializer as I
import numpy as np

import models

# A D3Net that builds and runs in milliseconds, with everything uneven that may be.
TINY = {
    'num_classes': 5,
    'num_init_features': 8,
    'num_layers': [3, 2],
    'n_blocks': [2, 3],
    'dens_k': [4, 6],
    'block_comp': [0.5, 0.4],
    'intermediate_out_ch': [6, 7],
    'channels': 10,
    'dense_n_out_layer_block': [2, 2],
}


def tiny(**changes):
    """A network of the family that is as small as can be."""
    return models.create('d3net', **{**TINY, **changes})


@contextmanager
def zero_parameters():
    """What is created inside is not drawn but zero: for large networks whose graph, or whose loaded
    parameters, are all that matters. Drawing tens of millions of numbers takes seconds.
    """
    with ExitStack() as patches:
        for initializer in (I.NormalInitializer, I.UniformInitializer):
            zeros = mock.patch.object(
                initializer, '__call__', lambda self, shape: np.zeros(shape, np.float32)
            )
            patches.enter_context(zeros)
        yield


def randomize_parameters(seed=0):
    """Fill every registered parameter with seeded numbers, so that none is a neutral 0 or 1."""
    rng = np.random.RandomState(seed)
    for name, parameter in nn.get_parameters(grad_only=False).items():
        if name.endswith(('gamma', 'var')):
            values = rng.uniform(0.5, 1.5, parameter.shape)
        else:
            fan_in = np.prod(parameter.shape[1:]) if name.endswith('/W') else 10
            values = rng.randn(*parameter.shape) / np.sqrt(fan_in)
        parameter.d = values.astype(np.float32)


def run_channel_last(graph):
    """The value of ``graph``, whose parameters and input have theirs.

    NNabla's CPU functions refuse channel_last when they run, so the graph is walked, and each of
    them is run in the other layout.
    """
    known = {name.replace('_', ''): function for name, function in vars(function_bases).items()}
    values = {}

    def run(function):
        inputs = [values.get(hash(v.data), v.d) for v in function.inputs]
        arguments = dict(function.info.args)
        channel_last = arguments.pop('channel_last', False)
        if channel_last:  # the tensor and a convolution's weights
            inputs[:2] = [array.transpose(0, 3, 1, 2) for array in inputs[:2]]
        variables = [nn.Variable.from_numpy_array(np.array(array)) for array in inputs]
        result = known[function.info.type_name.lower()](*variables, **arguments)
        result.forward()
        array = result.d.transpose(0, 2, 3, 1) if channel_last else result.d
        values[hash(function.outputs[0].data)] = array

    graph.visit(run)
    return values[hash(graph.data)]


def image(height, width, seed=0):
    """A seeded uint8 BGR image with structure at several scales."""
    rng = np.random.RandomState(seed)
    coarse = rng.randint(0, 200, (-(-height // 8), -(-width // 8), 3)).repeat(8, 0).repeat(8, 1)
    noise = rng.randint(0, 56, (height, width, 3))
    return (coarse[:height, :width] + noise).astype(np.uint8)


def seeded_weights(shared):
    """The module that regenerates the parameters and inputs of the reference fixtures."""
    spec = importlib.util.spec_from_file_location(
        'seeded_weights', shared / 'reference' / 'seeded_weights.py'
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
