"""Costs of networks: the fixtures' counts, stages, receptive fields, peak memory."""

import json

import nnabla as nn
import numpy as np
import pytest

import models
from benchmarks.memory import peak_mib
from layers import graph
from models import complexity
from support import stand_ins

AT_ALL_SIZES = (
    'ddrnet23_slim', 'dabnet_e', 'csail_resnet18dilated8_ppm_deepsup',
    'unet_aspp_mobilenetv2_tv_edgeailite', 'fpn_aspp_regnetx400mf_edgeailite',
)  # fmt: skip
ONE_SIZE = '512x1024'


def check_fixture(path, sizes):
    """Compare GigaMACs to all digits, and trainable parameters.

    The reference runs DDRNet's auxiliary head at inference too.
    """
    meta, name = json.loads(path.read_text()), path.stem
    for size in sizes(meta['gmacs_HxW']):
        shape = tuple(map(int, size.split('x')))
        work, parameters = complexity.count_macs_and_parameters(
            models.create(name), shape, aux='ddrnet' in name
        )
        assert round(work / 1e9, 4) == meta['gmacs_HxW'][size], (name, size)
        assert parameters == meta['trainable_parameters'], name


def fixtures(shared):
    paths = sorted((shared / 'reference').glob('*.json'))
    assert len(paths) == 33
    return paths


def test_counts_of_every_network_at_one_size(shared):
    for path in fixtures(shared):
        check_fixture(path, lambda gmacs: [ONE_SIZE])


@pytest.mark.parametrize('name', AT_ALL_SIZES)
def test_counts_at_all_sizes(name, shared):
    check_fixture(shared / 'reference' / f'{name}.json', list)


@pytest.mark.whole_registry
def test_counts_of_every_network_at_all_sizes(shared):
    for path in fixtures(shared):
        check_fixture(path, lambda gmacs: [size for size in gmacs if gmacs[size] is not None])


def test_heads_that_do_not_run_cost_nothing():
    for name in ('ddrnet23_slim', 'csail_resnet18dilated8_ppm'):
        with_head = {'ddrnet23_slim': 'ddrnet23_slim_aux'}.get(name, f'{name}_deepsup')
        plain, deep = (
            complexity.measure_network(models.create(n), (128, 128)) for n in (name, with_head)
        )
        trained = complexity.measure_network(models.create(with_head), (128, 128), aux=True)
        assert deep.multiply_accumulates == plain.multiply_accumulates
        assert trained.multiply_accumulates > plain.multiply_accumulates
        assert trained.receptive_field == deep.receptive_field == plain.receptive_field
        idle = [stage for stage in deep.stages if not stage.runs]
        assert sum(stage.parameters for stage in idle) == deep.parameters - plain.parameters
        assert all(stage.multiply_accumulates == 0 for stage in idle)
        assert all(stage.runs for stage in (*plain.stages, *trained.stages))


@pytest.mark.parametrize(
    'name, first, last, count',
    [
        ('d3net_t', 'backbone/conv1', 'decode_head/conv_seg', 15),
        ('ddrnet39', 'conv1', 'final_layer', 19),
        ('dabnet_r18_p2', 'backbone/backbone/stem', 'auxiliary_head/1', 23),
        ('dabnet_e', 'backbone/backbone/conv_stem', 'auxiliary_head/1', 26),
        ('csail_resnet50dilated8_ppm', 'encoder/conv1', 'decoder/conv_last', 9),
        ('fpn_aspp_regnetx400mf_edgeailite', 'encoder/features/stem', 'decoders/0/pred', 8),
        ('unet_mobilenetv2_tv_edgeailite', 'encoder/features/0', 'decoders/0/pred', 21),
    ],
)
def test_stages_add_up_to_the_network(name, first, last, count):
    measured = complexity.measure_network(models.create(name), (256, 256))
    stages = measured.stages
    assert (stages[0].name, stages[-1].name, len(stages)) == (first, last, count)
    for key in ('multiply_accumulates', 'parameters', 'activation_bytes'):
        assert sum(getattr(stage, key) for stage in stages) == getattr(measured, key)
    assert all(stage.parameters for stage in stages)
    assert all(stage.multiply_accumulates for stage in stages if stage.runs)


@pytest.mark.parametrize(
    'name, size',
    [
        ('ddrnet23_slim', (64, 128)),
        ('unet_aspp_mobilenetv2_tv_edgeailite', (64, 96)),
        ('csail_resnet18_upernet_lite', (97, 65)),
        ('d3net_t', (61, 64)),
    ],
)
def test_peak_memory_is_that_of_nnabla(name, size):
    """NNabla keeps, when it runs a function, all outputs not yet cleared and the function's own."""
    x = nn.Variable.from_numpy_array(np.zeros((1, 3, *size)))
    with stand_ins.zero_parameters():
        logits = models.create(name)(x)[0]
    made, peaks = [], []

    def observe(function):
        kept = [y for f in made for y in f.outputs if not y.data.clear_called]
        made.append(function)
        peaks.append(4 * sum(y.size for y in (*kept, *function.outputs)))

    logits.forward(clear_buffer=True, function_pre_hook=observe)
    assert made == graph.functions(logits)
    measured = complexity.measure_network(models.create(name), size)
    assert measured.peak_bytes == max(peaks)
    outputs = sum(y.size for f in graph.depending_on(x, made) for y in f.outputs)
    assert measured.activation_bytes == 4 * outputs


def test_no_activations_are_allocated():
    """DDRNet-39 at 1024x2048 has 3.8 GiB of activations and 123 MiB of parameters."""
    network, size = models.create('ddrnet39'), (1024, 2048)
    before = peak_mib(lambda: None)
    assert peak_mib(lambda: complexity.measure_network(network, size)) - before < 60


def test_registered_parameters_do_not_change():
    network = stand_ins.tiny()
    network(nn.Variable((1, 3, 32, 32)))
    before = {n: p.d.copy() for n, p in nn.get_parameters(grad_only=False).items()}
    complexity.measure_network(stand_ins.tiny(num_classes=9), (32, 32))
    after = nn.get_parameters(grad_only=False)
    assert after.keys() == before.keys()
    assert all(np.array_equal(after[n].d, values) for n, values in before.items())


@pytest.mark.parametrize(
    'divisor, smallest, size, legal',
    [
        (1, 1, (97, 161), (97, 161)),
        (1, 33, (20, 161), (33, 161)),
        (32, 32, (97, 161), (96, 160)),
        (512, 512, (360, 1300), (512, 1536)),
        (8, 20, (1, 28), (24, 32)),
    ],
)
def test_nearest_size(divisor, smallest, size, legal):
    info = models.NetworkInfo(
        num_classes=19, size_divisor=divisor, smallest_size=smallest, paper='none'
    )
    assert complexity.nearest_size(info, size) == legal


def test_an_illegal_size_is_refused():
    with pytest.raises(models.ModelError, match='100x100 pixels'):
        complexity.measure_network(models.create('ddrnet23_slim'), (100, 100))
