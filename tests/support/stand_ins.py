"""Create seeded networks, parameters and images, and run channel_last graphs on the CPU."""

import importlib.util
from contextlib import ExitStack, contextmanager
from unittest import mock

import nnabla as nn
import nnabla.function_bases as function_bases
import nnabla.initializer as I
import numpy as np

import models

# A D3Net that builds and runs in milliseconds; its stages differ in every value that can differ.
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
    """Create a tiny D3Net; ``changes`` override its hyper-parameters."""
    return models.create('d3net', **{**TINY, **changes})


@contextmanager
def zero_parameters():
    """Initialise parameters with zeros instead of random numbers.

    Drawing tens of millions of random numbers takes seconds, and tests of a large network's graph
    or of loaded parameters do not need them.
    """
    with ExitStack() as patches:
        for initializer in (I.NormalInitializer, I.UniformInitializer):
            zeros = mock.patch.object(
                initializer, '__call__', lambda self, shape: np.zeros(shape, np.float32)
            )
            patches.enter_context(zeros)
        yield


def randomize_parameters(seed=0):
    """Fill all registered parameters with seeded numbers, so that none is a neutral 0 or 1."""
    rng = np.random.RandomState(seed)
    for name, parameter in nn.get_parameters(grad_only=False).items():
        if name.endswith(('gamma', 'var')):
            values = rng.uniform(0.5, 1.5, parameter.shape)
        else:
            fan_in = np.prod(parameter.shape[1:]) if name.endswith('/W') else 10
            values = rng.randn(*parameter.shape) / np.sqrt(fan_in)
        parameter.d = values.astype(np.float32)


def run_channel_last(graph):
    """Return the value of a channel_last graph.

    NNabla's CPU functions do not support channel_last, so this visits the graph and runs each
    function in the other layout.
    """
    known = {name.replace('_', ''): function for name, function in vars(function_bases).items()}
    values = {}

    def run(function):
        inputs = [values.get(hash(v.data), v.d) for v in function.inputs]
        arguments = dict(function.info.args)
        channel_last = arguments.pop('channel_last', False)
        if channel_last:  # the map and the weights of a convolution
            inputs[:2] = [array.transpose(0, 3, 1, 2) for array in inputs[:2]]
        variables = [nn.Variable.from_numpy_array(np.array(array)) for array in inputs]
        result = known[function.info.type_name.lower()](*variables, **arguments)
        result.forward()
        array = result.d.transpose(0, 2, 3, 1) if channel_last else result.d
        values[hash(function.outputs[0].data)] = array

    graph.visit(run)
    return values[hash(graph.data)]


def image(height, width, seed=0):
    """Return a seeded image with structure at several scales, (H, W, 3) uint8, BGR."""
    rng = np.random.RandomState(seed)
    coarse = rng.randint(0, 200, (-(-height // 8), -(-width // 8), 3)).repeat(8, 0).repeat(8, 1)
    noise = rng.randint(0, 56, (height, width, 3))
    return (coarse[:height, :width] + noise).astype(np.uint8)


def seeded_weights(shared):
    """Import the module that regenerates parameters and inputs of the reference fixtures."""
    spec = importlib.util.spec_from_file_location(
        'seeded_weights', shared / 'reference' / 'seeded_weights.py'
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
