"""D3Net computes what Sony's does: names, outputs, intermediates. Training is in
tests/engine/training/test_published_training.py.
"""

import nnabla as nn
import nnabla.functions as F
import pytest

import models
from engine.training.schedules import poly
from layers import functions as L
from support import stand_ins

NETWORKS = ('d3net_s', 'd3net_l')


@pytest.fixture(params=NETWORKS)
def fixture(request, shared):
    return load_fixture(request.param, shared)


def load_fixture(name, shared):
    """Return (seeded_weights, meta, arrays, network) and register the seeded parameters."""
    seeded = stand_ins.seeded_weights(shared)
    meta, arrays = seeded.load_fixture(name)
    for entry, expected in meta['seed_check']:
        _, shape, kind = next(each for each in meta['state'] if each[0] == entry)
        first = seeded.seeded_array(entry, shape, kind, meta['weight_scale']).ravel()[:4]
        assert first == pytest.approx(expected, rel=1e-6)
    network = models.create(name)
    network(nn.Variable((1, 3, 64, 64)))
    models.weights.load(dict(seeded.seeded_state(meta)))
    return seeded, meta, arrays, network


def test_the_whole_state_has_sonys_names_shapes_and_order(fixture):
    _, meta, _, _ = fixture
    own = [[name, list(p.shape)] for name, p in nn.get_parameters(grad_only=False).items()]
    assert own == [[name, shape] for name, shape, _ in meta['state']]
    trainable = sum(p.size for p in nn.get_parameters().values())
    assert trainable == meta['trainable_parameters']


def test_outputs(fixture):
    check_outputs(*fixture)


def check_outputs(seeded, meta, arrays, network):
    """Check all cases; returns the largest deviation as a share of what is allowed."""
    worst = 0
    for case in meta['cases']:
        x = nn.Variable.from_numpy_array(seeded.seeded_input(case))
        logits_lowres = network(x)[0]
        logits = L.resize(logits_lowres, x.shape[2:])
        prob = F.softmax(logits, axis=1)
        nn.forward_all([logits_lowres, logits, prob])
        outputs = {'logits_lowres': logits_lowres, 'logits': logits, 'prob': prob}
        assert set(outputs) == set(case['outputs'])
        for name, record in case['outputs'].items():
            assert list(outputs[name].shape) == record['full_shape']
            stored = seeded.view_like_stored(outputs[name].d, record)
            deviation = abs(stored - arrays[record['key']]).max()
            limit = max(1e-4 * record['std'], 5 * record['max_abs_dev_from_float64'])
            assert deviation <= limit, (case['case'], name)
            worst = max(worst, deviation / limit)
    return worst


def test_intermediate_activations(fixture):
    seeded, meta, _, network = fixture
    checked = 0
    for case in meta['cases']:
        x = nn.Variable.from_numpy_array(seeded.seeded_input(case))
        logits = network(x)[0]
        logits.forward()
        activations = named_activations(logits)
        for record in meta['intermediates']:
            if record['case'] != case['case']:
                continue
            values = activations[record['name']]
            tolerance = 1e-4 * record['std']
            assert list(values.shape) == record['shape'], record['name']
            assert values.ravel()[:8] == pytest.approx(record['first8'], abs=tolerance)
            assert values.mean() == pytest.approx(record['mean'], abs=tolerance)
            assert values.std() == pytest.approx(record['std'], rel=1e-4)
            checked += 1
    assert checked == len(meta['intermediates'])


def named_activations(output):
    """Outputs of convolutions by the scope of their weights, of poolings by their transition."""
    names = {hash(p.data): name for name, p in nn.get_parameters(grad_only=False).items()}
    found, latest = {}, None

    def visit(function):
        nonlocal latest
        if function.info.type_name == 'Convolution':
            latest = names[hash(function.inputs[1].data)].rsplit('/', 1)[0]
            found[f'{latest} output'] = function.outputs[0].d.copy()
        elif function.info.type_name == 'AveragePooling':
            scope = latest.removesuffix('/conv/conv')
            found[f'{scope} average_pooling output'] = function.outputs[0].d.copy()

    output.visit(visit)
    return found


@pytest.mark.parametrize('network', NETWORKS)
def test_poly_learning_rate(network, shared):
    meta, _ = stand_ins.seeded_weights(shared).load_fixture(network)
    hyper = {key: meta['hyper_parameters'][key] for key in ('lr', 'min_lr', 'max_iter', 'power')}
    for iteration, expected in meta['poly_lr'].items():
        assert poly(int(iteration), **hyper) == pytest.approx(expected, rel=1e-12)
