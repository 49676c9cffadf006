"""Conversions in the test's process, and the seeded checkpoints that they read."""

import re
from dataclasses import replace

import numpy as np
import pytest

import models
from common.command import run_command
from models import registry, weights
from models.convert import __main__ as command
from models.convert import checkpoints, matching
from support import stand_ins
from support.checkpoint_writer import Checkpoint

# The network with the fewest parameters that has a PyTorch original: 2.2 million.
SMALLEST = 'fpn128_mobilenetv2_tv_edgeailite'
# One network of each kind, and networks that share an encoder or differ in the heads only.
SAMPLE = {
    'd3net',
    'd3net_s',
    'csail_resnet18dilated8_c1_deepsup',
    'csail_resnet18_upernet',
    'csail_resnet50_upernet',
    'dabnet_r18_p2',
    'dabnet_r18_p4',
    'dabnet_e',
    'ddrnet23_slim',
    'ddrnet23_slim_aux',
    'ddrnet23',
    'ddrnet23_aux',
    'unet_aspp_mobilenetv2_tv_edgeailite',
    'fpn_aspp_regnetx400mf_edgeailite',
    'fpn_aspp_regnetx400mf_fd_edgeailite',
    'fpn_aspp_regnetx400mf_bgr_edgeailite',
    'unet_aspp_regnetx800mf_edgeailite',
}


@pytest.fixture
def few_networks(monkeypatch):
    """Reduce the registry to ``SAMPLE``: a search builds the graph of every network once."""
    for family in list(registry.FAMILIES):
        variants = {name: v for name, v in family.variants.items() if name in SAMPLE}
        monkeypatch.setitem(registry._families, family.name, replace(family, variants=variants))


def convert(*options):
    """Run models.convert and return its exit status."""
    return run_command(command.build_parser, command.main, [str(option) for option in options])


def assert_conversion_refused(capsys, message, name, *options):
    """Assert that a conversion for the network ``name`` fails with one line, ``message``."""
    assert convert('--network', name, *options) == 2
    line = capsys.readouterr().err
    assert re.search(message, line), line
    assert len(line.splitlines()) == 1


def assert_holds(path, expected):
    """Assert that an ``.h5`` file holds exactly these arrays."""
    found = weights.read(path)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert np.array_equal(found[name], array), name


def assert_refused(path, message):
    """Assert that reading a checkpoint or its arrays fails with one line, ``message``."""
    with pytest.raises(models.ModelError, match=message) as caught:
        for _, state in matching.states(checkpoints.read(path)):
            checkpoints.read_arrays(state, path)
    assert '\n' not in str(caught.value)


def reference(shared, name):
    """Return the facts of a network's reference."""
    return stand_ins.seeded_weights(shared).load_fixture(name)[0]


def reference_shapes(shared, name, prefix=''):
    """Return the shapes of a reference's parameters below ``prefix``, by the rest of the name."""
    state = reference(shared, name)['state']
    return {
        n.removeprefix(prefix): tuple(shape)
        for n, shape, kind in state
        if kind != 'skip' and n.startswith(prefix)
    }


def seeded(shapes):
    """Return seeded float32 arrays of these shapes, so that a network's logits are finite."""
    rng = np.random.RandomState(0)
    arrays = {n: rng.rand(*shape).astype(np.float32) for n, shape in shapes.items()}
    return {n: (a - 0.5) / 10 if a.ndim == 4 else a + 0.5 for n, a in arrays.items()}


def zeros(shapes):
    """Return float32 zeros of these shapes, for checkpoints that are refused."""
    return {n: np.zeros(shape, np.float32) for n, shape in shapes.items()}


def save(path, arrays, wrapper=None, prefix=''):
    """Write a checkpoint of arrays and return its path.

    Args:
        path: The file to write.
        arrays: Arrays by name.
        wrapper: Key of the saved dictionary that holds the arrays; None for no wrapper.
        prefix: Prefix of all names.
    """
    checkpoint = Checkpoint()
    state = checkpoint.state(arrays, prefix)
    path.parent.mkdir(exist_ok=True)
    return checkpoint.save(path, {wrapper: state} if wrapper else state)


def batch_norm(name, width):
    """Return the arrays of a batch norm."""
    leaves = ('weight', 'bias', 'running_mean', 'running_var')
    return {f'{name}.{leaf}': np.ones(width) for leaf in leaves}


def linear(name, outputs, inputs):
    """Return the arrays of a fully connected layer."""
    return {f'{name}.weight': np.ones((outputs, inputs)), f'{name}.bias': np.ones(outputs)}
