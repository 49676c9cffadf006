"""D3Net computes what Sony's does: names, outputs, intermediates, gradients, training steps."""

import nnabla as nn
import nnabla.functions as F
import nnabla.solvers as S
import numpy as np
import pytest

import helpers
import models
from d3net import layers as L
from engine.schedules import poly

NETWORKS = ('d3net_s', 'd3net_l')
FLOOR_FACTOR = 5  # times the measured rounding floor of the reference


@pytest.fixture(params=NETWORKS)
def fixture(request, shared):
    """(seeded_weights, meta, arrays, network) with the seeded parameters registered."""
    seeded = helpers.seeded_weights(shared)
    meta, arrays = seeded.load_fixture(request.param)
    for name, expected in meta['seed_check']:
        _, shape, kind = next(entry for entry in meta['state'] if entry[0] == name)
        first = seeded.seeded_array(name, shape, kind, meta['weight_scale']).ravel()[:4]
        assert first == pytest.approx(expected, rel=1e-6)
    network = models.create(request.param)
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
    seeded, meta, arrays, network = fixture
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


def training_batch():
    """The batch of the reference's recipe."""
    image = np.random.RandomState(11).randn(2, 3, 64, 128).astype(np.float32)
    label = np.random.RandomState(12).randint(0, 19, (2, 1, 64, 128))
    label[np.random.RandomState(13).rand(2, 1, 64, 128) < 0.1] = -1
    return nn.Variable.from_numpy_array(image), nn.Variable.from_numpy_array(label)


def published_loss(network, image, label, **build):
    """Cross entropy of the upsampled logits, averaged over all pixels, ignored ones too."""
    logits = L.resize(network(image, **build)[0], image.shape[2:])
    return L.mean_all(F.softmax_cross_entropy(logits, label, axis=1))


def test_training_with_frozen_statistics(fixture):
    """Gradients, weight decay, momentum and schedule, over three steps."""
    _, meta, _, network = fixture
    record, hyper = meta['train_frozen_bn'], meta['hyper_parameters']
    floor = record['noise_floor']
    image, label = training_batch()
    assert (label.d < 0).sum() == record['n_ignored']
    loss = published_loss(network, image, label)
    loss.persistent = True
    parameters = nn.get_parameters()
    initial = {name: p.d.copy() for name, p in parameters.items()}
    solver = S.Momentum(hyper['lr'], hyper['momentum'])
    solver.set_parameters(parameters)
    schedule = {key: hyper[key] for key in ('lr', 'min_lr', 'max_iter', 'power')}
    for step in record['steps']:
        solver.zero_grad()
        solver.set_learning_rate(poly(step['iteration'], **schedule))
        loss.forward(clear_no_need_grad=True)
        loss.backward(clear_buffer=True)
        expected = step['loss_before_update']
        assert loss.d.item() == pytest.approx(expected, rel=FLOOR_FACTOR * max(floor['loss']))
        if step['iteration'] == 0:
            check_norms(
                {name: parameters[name].g for name in floor['grad_l2']},
                record['grad_l2_first_step_before_weight_decay'],
                floor['grad_l2'],
            )
            everything = np.sqrt(
                sum(np.square(p.g, dtype=np.float64).sum() for p in parameters.values())
            )
            assert everything == pytest.approx(record['grad_l2_all_parameters'], rel=1e-5)
        solver.weight_decay(hyper['weight_decay'])
        solver.update()
    check_norms(
        {n: parameters[n].d - initial[n] for n in floor['param_minus_initial_l2_after_3']},
        record['steps'][-1]['param_minus_initial_l2_after_update'],
        floor['param_minus_initial_l2_after_3'],
    )


def check_norms(arrays, expected, floor):
    """L2 norms against the reference's, within a few times its own rounding floor."""
    for name, array in arrays.items():
        norm = np.sqrt(np.square(array, dtype=np.float64).sum())
        tolerance = max(FLOOR_FACTOR * floor[name], 1e-5)
        assert norm == pytest.approx(expected[name], rel=tolerance), name


def test_first_training_step_with_batch_statistics(fixture):
    """Later ones are chaotic in float32: the reference itself moves by 1e-2 when the image does
    by 1e-7.
    """
    _, meta, _, network = fixture
    record = meta['train']
    loss = published_loss(network, *training_batch(), train=True)
    loss.forward(clear_no_need_grad=True)
    floor = record['noise_floor']['loss'][0]
    assert loss.d.item() == pytest.approx(record['loss_first_forward'], rel=5 * floor)
    parameters = nn.get_parameters(grad_only=False)
    for name, expected in record['bn_running_stat_l2_after_first_forward'].items():
        norm = np.sqrt(np.square(parameters[name].d, dtype=np.float64).sum())
        assert norm == pytest.approx(expected, rel=1e-5), name


@pytest.mark.parametrize('network', NETWORKS)
def test_poly_learning_rate(network, shared):
    meta, _ = helpers.seeded_weights(shared).load_fixture(network)
    hyper = {key: meta['hyper_parameters'][key] for key in ('lr', 'min_lr', 'max_iter', 'power')}
    for iteration, expected in meta['poly_lr'].items():
        assert poly(int(iteration), **hyper) == pytest.approx(expected, rel=1e-12)
