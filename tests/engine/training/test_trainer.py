"""The trainer against the published D3Net's own training, and against formulas; what it is told
reaches it; half precision.
"""

import itertools
from types import SimpleNamespace

import nnabla as nn
import nnabla.functions as F
import numpy as np
import pytest

import datasets
import models
from common.errors import InputError, UserError
from datasets.loading import augmentations
from datasets.loading.loader import Loader
from engine.distributed.communicators import SingleProcessCommunicator
from engine.distributed.processes import Processes
from engine.inference.predictor import Predictor
from engine.training.divergence import DivergedError
from engine.training.losses import Objective
from engine.training.optimizer import Optimizer
from layers import functions as L
from models.family import Family
from models.registry import Network
from support import mpi_training, stand_ins

NETWORKS = ('d3net_s', 'd3net_l')
FLOOR_FACTOR = 5  # times the measured rounding floor of the reference


class Fixed:
    """A stand-in for the loader that gives the same batches over and over."""

    samples = [SimpleNamespace(image='first.png'), SimpleNamespace(image='second.png')]

    def __init__(self, *batches):
        self._batches, self.given = itertools.cycle(batches), 0

    def next(self):
        self.given += 1
        return next(self._batches)

    def state_dict(self):
        return {'given': self.given}


def make_trainer(network, config, loader, **options):
    """A trainer of a network with registered parameters, alone."""
    processes = Processes()
    recipe = mpi_training.recipe_of({'batch_size': 2, **config}, 16, 1)
    return mpi_training.trainer_of(
        network, config, recipe, loader, processes, SingleProcessCommunicator(processes), **options
    )


def values():
    """Copies of all parameters."""
    return {n: p.d.copy() for n, p in nn.get_parameters(grad_only=False).items()}


# The published training


@pytest.fixture(params=NETWORKS)
def published(request, shared):
    """The reference's numbers, and a way to make a trainer of its recipe, weights and batch."""
    seeded = stand_ins.seeded_weights(shared)
    meta, _ = seeded.load_fixture(request.param)
    network = models.create(request.param)
    Predictor(network)
    models.weights.load(dict(seeded.seeded_state(meta)))
    image = np.random.RandomState(11).randn(2, 3, 64, 128).astype(np.float32)
    label = np.random.RandomState(12).randint(0, 19, (2, 1, 64, 128)).astype(np.int32)
    label[np.random.RandomState(13).rand(2, 1, 64, 128) < 0.1] = -1
    keys = ('lr', 'min_lr', 'max_iter', 'power', 'momentum', 'weight_decay')
    config = {key: meta['hyper_parameters'][key] for key in keys} | {'loss_mean': 'all'}

    def trainer(**build):
        return make_trainer(network, config, Fixed((image, label)), build=build)

    return meta, label, trainer


def test_published_training_with_frozen_statistics(published):
    """Gradients, weight decay, momentum and schedule, over three steps."""
    meta, label, make = published
    record, hyper = meta['train_frozen_bn'], meta['hyper_parameters']
    floor = record['noise_floor']
    assert (label < 0).sum() == record['n_ignored']
    trainer = make(freeze_statistics=True)
    parameters, initial = nn.get_parameters(), values()
    for expected in record['steps']:
        step = trainer.step()
        assert step.rate == pytest.approx(expected['lr'], rel=1e-12)
        tolerance = FLOOR_FACTOR * max(floor['loss'])
        assert step.loss == pytest.approx(expected['loss_before_update'], rel=tolerance)
        if expected['iteration'] == 0:  # the decay has been added to the gradients
            decay = np.float32(hyper['weight_decay'])
            gradients = {n: p.g - decay * initial[n] for n, p in parameters.items()}
            check_norms(
                gradients, record['grad_l2_first_step_before_weight_decay'], floor['grad_l2']
            )
            everything = np.sqrt(
                sum(np.square(g, dtype=np.float64).sum() for g in gradients.values())
            )
            assert everything == pytest.approx(record['grad_l2_all_parameters'], rel=1e-5)
    final = values()
    check_norms(
        {name: final[name] - initial[name] for name in parameters},
        record['steps'][-1]['param_minus_initial_l2_after_update'],
        floor['param_minus_initial_l2_after_3'],
    )
    for name in final.keys() - parameters.keys():
        assert np.array_equal(final[name], initial[name]), name


def check_norms(arrays, expected, floor):
    """L2 norms against the reference's, within a few times its own rounding floor."""
    assert expected.keys() == floor.keys()
    for name, norm in expected.items():
        own = np.sqrt(np.square(arrays[name], dtype=np.float64).sum())
        assert own == pytest.approx(norm, rel=max(FLOOR_FACTOR * floor[name], 1e-5)), name


def test_first_published_step_with_batch_statistics(published):
    """Later ones are chaotic in float32: the reference itself moves by 1e-2 when the image does
    by 1e-7.
    """
    meta, _, make = published
    record = meta['train']
    floor = record['noise_floor']['loss'][0]
    step = make().step()
    assert step.loss == pytest.approx(record['loss_first_forward'], rel=FLOOR_FACTOR * floor)
    parameters = values()
    for name, expected in record['bn_running_stat_l2_after_first_forward'].items():
        norm = np.sqrt(np.square(parameters[name], dtype=np.float64).sum())
        assert norm == pytest.approx(expected, rel=1e-5), name


# Keys of a config

CONFIG = {'lr': 0.1, 'max_iter': 8, 'weight_decay': 0.01}
KEYS = [  # with what a key needs to have an effect, and the key
    ({}, {'lr': 0.2}),
    ({}, {'max_iter': 9}),
    ({}, {'min_lr': 0.05}),
    ({}, {'power': 0.5}),
    ({}, {'schedule': 'cosine'}),
    ({}, {'schedule': 'one_cycle'}),
    ({}, {'schedule': 'constant'}),
    ({'schedule': 'step', 'milestones': [2]}, {'milestones': [1]}),
    ({'schedule': 'step', 'milestones': [1]}, {'gamma': 0.5}),
    ({}, {'warmup_iter': 3}),
    ({'warmup_iter': 3}, {'warmup_factor': 0.5}),
    ({}, {'reference_batch': 4}),
    ({}, {'accumulation': 2}),
    ({}, {'solver': 'nesterov'}),
    ({}, {'solver': 'adam'}),
    ({'solver': 'adam'}, {'solver': 'adamw'}),
    ({}, {'momentum': 0.5}),
    ({'solver': 'adam'}, {'beta1': 0.5}),
    ({'solver': 'adam'}, {'beta2': 0.5}),
    ({'solver': 'adam'}, {'epsilon': 0.01}),
    ({}, {'weight_decay': 0.1}),
    ({}, {'clip_norm': 0.01}),
    ({}, {'lr_factors': ['conv1/*=0.1']}),
    ({}, {'no_decay': ['*/W']}),
    ({}, {'freeze': ['conv1/*']}),
    ({}, {'loss_mean': 'all'}),
    ({}, {'loss_at': 'logits'}),
    ({}, {'class_weights': [1, 2, 3, 4, 5]}),
    ({}, {'label_smoothing': 0.1}),
    ({}, {'loss': 'ohem', 'ohem_threshold': 0.3, 'ohem_min_kept': 1}),
    ({'loss': 'ohem', 'ohem_min_kept': 1}, {'ohem_threshold': 0.1}),
    ({'loss': 'ohem', 'ohem_threshold': 0.01}, {'ohem_min_kept': 10}),
    ({}, {'aux_weights': [0.9]}),
    ({}, {'dice_weight': 1}),
    ({}, {'lovasz_weight': 1}),
]


def two_heads(x, build):
    """Convolution, batch norm, dropout; a head and an auxiliary one at half the resolution."""
    x = L.convolution(x, 8, 3, 'conv1', build, stride=2)
    x = L.dropout(L.bn_relu(x, 'bn1', build), 0.3, build)
    return [L.convolution(x, 5, 3, name, build) for name in ('main', 'aux')]


def rooted(x, build):
    """A square root at 0: its value is finite, its gradient is not."""
    y = L.convolution(x, 5, 3, 'conv', build)
    return [y + F.pow_scalar(y * 0, 0.5)]


def small_network(graph=two_heads):
    """A network with seeded parameters."""
    info = mpi_training.network('plain').info
    family = Family(name='small', graph=graph, variants={}, info=lambda hyper: info)
    network = Network('small', family, {}, info)
    network(nn.Variable((1, 3, 24, 40)))
    stand_ins.randomize_parameters()
    return network


def batches(count=4, size=2):
    """Seeded images, and labels that depend on them, of which some are ignored."""
    rng, made = np.random.RandomState(3), []
    for _ in range(count):
        images = rng.randn(size, 3, 24, 40).astype(np.float32)
        images[:, :, 8:16] += rng.randn(size, 3, 1, 1)
        labels = (np.abs(images.sum(axis=1, keepdims=True)) % 5).astype(np.int32)
        labels[:, :, : 1 + rng.randint(6)] = -1
        made.append((images, labels))
    return made


def trained(config, steps=3, **options):
    """All parameters after some steps."""
    nn.clear_parameters()
    trainer = make_trainer(small_network(), {**CONFIG, **config}, Fixed(*batches()), **options)
    for _ in range(steps):
        trainer.step()
    return values()


@pytest.mark.parametrize(
    ('needed', 'key'), KEYS, ids=[f'{next(iter(k))}={next(iter(k.values()))}' for _, k in KEYS]
)
def test_a_key_reaches_the_trainer(needed, key):
    """What each does is for the tests of losses, solvers, schedules and recipes."""
    without, again, with_key = (trained(config) for config in (needed, needed, {**needed, **key}))
    assert all(np.array_equal(without[name], again[name]) for name in without)
    assert not all(np.array_equal(without[name], with_key[name]) for name in without)


def test_the_seed_reaches_dropout_and_nothing_else_does():
    """What is dropped depends on the seed and the iteration, not on what ran before."""
    one = trained({}, seed=1)
    F.dropout(F.constant(1, (4, 4)), 0.5).forward()
    again, other = trained({}, seed=1), trained({}, seed=2)
    assert all(np.array_equal(one[name], again[name]) for name in one)
    assert not np.array_equal(one['conv1/conv/W'], other['conv1/conv/W'])


def test_a_trainer_goes_on_from_its_state_with_the_same_bits():
    """With dropout, an average and a schedule; the state does not follow what happens next."""
    config = {**CONFIG, 'ema_decay': 0.9, 'solver': 'adam'}
    network, all_batches = small_network(), batches()
    trainer = make_trainer(network, config, Fixed(*all_batches))
    for _ in range(2):
        trainer.step()
    facts = trainer.state()
    for _ in range(2):
        trainer.step()
    expected = values()
    with trainer.evaluated():
        expected_average = values()
    nn.clear_parameters()
    other = make_trainer(small_network(), config, Fixed(*all_batches[2:]))
    other.load_state(SimpleNamespace(**facts))
    for _ in range(2):
        other.step()
    assert other.iteration == 4
    own = values()
    assert all(np.array_equal(own[name], array) for name, array in expected.items())
    with other.evaluated():
        own = values()
    assert all(np.array_equal(own[name], array) for name, array in expected_average.items())
    assert not np.array_equal(expected['conv1/conv/W'], expected_average['conv1/conv/W'])


@pytest.mark.parametrize('form', ['nnabla', 'pytorch'])
def test_one_step_is_the_formula(form):
    """Two micro-batches of different numbers of valid pixels, class weights, weight decay and
    momentum, in float64 with NumPy; the network is one 1x1 convolution.
    """
    info = mpi_training.network('plain').info

    def linear(x, build):
        return [L.convolution(x, 5, 1, 'conv', build)]

    family = Family(
        name='linear', graph=linear, variants={}, info=lambda hyper: info, momentum_form=form
    )
    network = Network('linear', family, {}, info)
    network(nn.Variable((1, 3, 24, 40)))
    stand_ins.randomize_parameters()
    w, b = (values()[f'conv/conv/{name}'].astype(np.float64) for name in 'Wb')
    weights = np.array([1, 2, 3, 4, 5.0])
    config = {
        'lr': 0.3, 'power': 0.5, 'max_iter': 4, 'weight_decay': 0.02, 'momentum': 0.7,
        'class_weights': weights.tolist(), 'accumulation': 2,
    }  # fmt: skip
    data = batches(count=2)
    trainer = make_trainer(network, config, Fixed(*data))
    pixels = np.concatenate([images.transpose(0, 2, 3, 1).reshape(-1, 3) for images, _ in data])
    labels = np.concatenate([labels.ravel() for _, labels in data])
    pixels, labels = pixels[labels >= 0].astype(np.float64), labels[labels >= 0]
    velocity = [np.zeros((5, 3)), np.zeros(5)]
    w = w.reshape(5, 3)
    for iteration in range(3):
        logits = pixels @ w.T + b
        logits -= logits.max(axis=1, keepdims=True)
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        share = weights[labels] / weights[labels].sum()
        loss = -(share * np.log(p[np.arange(len(p)), labels])).sum()
        at_logits = (p - np.eye(5)[labels]) * share[:, None]
        lr = 0.3 * (1 - iteration / 4) ** 0.5
        gradients = at_logits.T @ pixels + 0.02 * w, at_logits.sum(axis=0) + 0.02 * b
        inside, outside = (lr, 1) if form == 'nnabla' else (1, lr)
        velocity = [0.7 * v + inside * g for v, g in zip(velocity, gradients)]
        w, b = w - outside * velocity[0], b - outside * velocity[1]
        step = trainer.step()
        assert step.loss == pytest.approx(loss, rel=1e-5)
        assert step.rate == pytest.approx(lr)
        assert values()['conv/conv/W'].reshape(5, 3) == pytest.approx(w, abs=1e-5)
        assert values()['conv/conv/b'] == pytest.approx(b, abs=1e-5)


def test_images_of_many_sizes_are_the_same_training():
    """Graphs are kept for the latest sizes only."""
    sizes = [(24, 40 + 8 * n) for n in range(18)]
    rng = np.random.RandomState(0)
    data = [
        (rng.randn(2, 3, *size).astype(np.float32), rng.randint(0, 5, (2, 1, *size), np.int32))
        for size in sizes
    ]
    trainer = make_trainer(small_network(), {**CONFIG, 'max_iter': 40}, Fixed(*data))
    for _ in range(36):
        assert np.isfinite(trainer.step().loss)
    together = values()
    nn.clear_parameters()
    network, state = small_network(), None
    for batch in data * 2:  # a trainer with a graph of its own for each step
        trainer = make_trainer(network, {**CONFIG, 'max_iter': 40}, Fixed(batch))
        if state:
            trainer.load_state(SimpleNamespace(**state))
        trainer.step()
        state = trainer.state()
    assert all(np.array_equal(together[name], array) for name, array in values().items())


def test_batches_through_the_loader(tmp_path):
    """The files of the batch are known when its loss is not finite."""
    mpi_training.write_data(tmp_path)
    split = datasets.open('folder', tmp_path, 'train')
    network = small_network()
    config = {**CONFIG, 'image_height': 24, 'image_width': 40}
    info = network.info
    transform = augmentations.create(config)
    loader = Loader(split, transform, 2, info.mean, info.std, workers=0)
    trainer = make_trainer(network, config, loader)
    trainer.step()
    nn.get_parameters()['main/conv/b'].d = np.inf
    with pytest.raises(UserError, match='the loss of iteration 2 is not finite') as caught:
        trainer.step()
    assert all(str(sample.image) in str(caught.value) for sample in loader.samples)
    with pytest.raises(UserError, match='parameter .* is not finite after iteration 1'):
        trainer.state()


def test_lost_weights_are_noticed_though_the_loss_is_finite():
    """NNabla's ReLU makes NaN 0."""
    trainer = make_trainer(small_network(), {**CONFIG, 'max_iter': 1000}, Fixed(*batches()))
    assert np.isfinite(trainer.step().loss)
    weights = values()['conv1/conv/W']
    weights[0] = np.nan
    nn.get_parameters()['conv1/conv/W'].d = weights
    with pytest.raises(UserError, match='conv1/conv/W is not finite in iteration 2 '):
        trainer.step()


def test_a_gradient_that_is_not_finite_changes_no_weight():
    """The loss is finite: the gradient of a square root at 0 is not."""
    trainer = make_trainer(small_network(rooted), {**CONFIG, 'max_iter': 1000}, Fixed(*batches()))
    before = values()
    with pytest.raises(UserError, match='the gradient of .* is not finite in iteration 1'):
        trainer.step()
    assert all(np.array_equal(before[name], array) for name, array in values().items())


def test_gradients_whose_norm_is_not_finite_do_not_reach_the_weights():
    """The gradients themselves and the loss are finite here."""
    network = mpi_training.network('plain')
    Predictor(network)
    images, labels = batches()[0]
    config = {**CONFIG, 'clip_norm': 1.0}
    trainer = make_trainer(network, config, Fixed((images * 1e25, labels)))
    before = values()
    with pytest.raises(DivergedError, match='the norm of the gradients of iteration 1 is not'):
        trainer.step()
    assert all(np.array_equal(array, before[name]) for name, array in values().items())


def test_a_sum_of_finite_losses_that_is_not_finite():
    class TooLarge(SingleProcessCommunicator):
        def total(self, array):
            return array + [np.inf, 0, 0] if array.shape == (3,) else array

    trainer = make_trainer(small_network(), CONFIG, Fixed(*batches()))
    trainer._communicator = TooLarge(Processes())
    with pytest.raises(DivergedError, match='that of every process is, their sum is not'):
        trainer.step()


def test_progress_is_told_batch_by_batch():
    config, told = {**CONFIG, 'accumulation': 3}, []
    trainer = make_trainer(small_network(), config, Fixed(*batches()))
    trainer.step(moved=told.append)
    loaded = [f'iteration 1, batch {number}, loaded' for number in (1, 2, 3)]
    assert told == [*loaded, *(f'iteration 1, batch {number}' for number in (1, 2, 3))]


def test_a_graph_to_look_at_is_not_kept():
    trainer = make_trainer(small_network(), CONFIG, Fixed(*batches()))
    assert trainer.loss((2, 3, 24, 40)) != trainer.loss((2, 3, 24, 40))


# Half precision


# Functions that NNabla's CPU can compute in half precision are.
HALF = nn.Context(['cpu:half', 'cpu:float'], 'CpuCachedArray', '0')


def losses(steps, **options):
    trainer = make_trainer(
        small_network(),
        {**CONFIG, 'max_iter': 200, 'lr': 0.2},
        Fixed(*batches()),
        build={'dropout': False},
        **options,
    )
    return trainer, [trainer.step().loss for _ in range(steps)]


def test_half_precision_learns_like_float():
    """With the loss and its sums in float, as on a GPU."""
    _, in_float = losses(40)
    nn.clear_parameters()
    nn.set_default_context(HALF)
    trainer, in_half = losses(40, half=True)
    assert in_float[-1] < 0.75 * in_float[0], 'the test needs a task that is learned'
    assert in_half != in_float
    assert in_half == pytest.approx(in_float, rel=5e-3)
    dtypes = {parameter.data.dtype for parameter in nn.get_parameters().values()}
    assert dtypes == {np.dtype(np.float32)}, 'the weights themselves stay in float'


def test_scaling_the_loss_changes_nothing_where_nothing_is_lost():
    """In float a power of two is exact: weight decay, clipping and momentum see the gradients."""
    changes = {'clip_norm': 0.5, 'accumulation': 2, 'gradient_reduction': 'sum'}
    plain, scaled = trained(changes), trained(changes, half=True)
    assert all(np.array_equal(plain[name], array) for name, array in scaled.items())


@pytest.mark.parametrize('solver', ['momentum', 'adam'])
def test_an_overflow_skips_the_step(solver):
    """Weights, momenta and average stay, the scale is halved until it fits, and on it goes."""
    nn.set_default_context(HALF)
    config = {**CONFIG, 'max_iter': 40, 'solver': solver, 'ema_decay': 0.5}
    trainer = make_trainer(small_network(), config, Fixed(*batches()), half=True)
    trainer.step()
    too_much = {'factor': 2.0**24, 'good_steps': 7}
    trainer.load_state(SimpleNamespace(**{**trainer.state(), 'loss_scale': too_much}))
    before = trainer.state()
    step = trainer.step()
    assert np.isfinite(step.loss)
    assert (step.skipped, step.loss_scale) == (True, 2.0**23)
    after = trainer.state()
    assert after['iteration'] == before['iteration'] + 1
    assert after['loss_scale'] == {'factor': 2.0**23, 'good_steps': 0}
    for part in ('solver', 'average'):
        assert all(np.array_equal(after[part][n], array) for n, array in before[part].items())
    for name in nn.get_parameters():
        assert np.array_equal(after['parameters'][name], before['parameters'][name])
    for _ in range(20):
        if not trainer.step().skipped:
            break
    final = trainer.state()
    assert 1 < final['loss_scale']['factor'] < 2.0**23
    moved, old = (state['parameters']['main/conv/W'] for state in (final, before))
    assert not np.array_equal(moved, old)


def test_an_overflow_that_no_scale_can_help_is_an_end(monkeypatch):
    monkeypatch.setattr(Optimizer, 'has_overflow', lambda optimizer: True)
    trainer = make_trainer(
        small_network(), {**CONFIG, 'max_iter': 40}, Fixed(*batches()), half=True
    )
    smallest = {'factor': 2.0**-13, 'good_steps': 0}
    trainer.load_state(SimpleNamespace(**{**trainer.state(), 'loss_scale': smallest}))
    assert trainer.step().skipped
    before = trainer.state()
    with pytest.raises(DivergedError, match='the gradients of iteration 2 overflow in half'):
        trainer.step()
    assert_restores(trainer, before)


def assert_restores(trainer, before):
    """A trainer whose step has ended with an error goes back to a state, running statistics and
    place in the data included.
    """
    name = 'bn1/bn/mean'
    moved = nn.get_parameters(grad_only=False)[name].d
    assert not np.array_equal(moved, before['parameters'][name])
    assert trainer.together
    assert trainer.restore()
    after = trainer.state()
    for part in ('parameters', 'solver'):
        assert all(np.array_equal(after[part][n], array) for n, array in before[part].items())
    for part in ('iteration', 'loader', 'loss_scale'):
        assert after[part] == before[part]


def test_after_a_loss_that_is_not_finite_it_goes_back_to_the_step_before(monkeypatch):
    trainer = make_trainer(small_network(), CONFIG, Fixed(*batches()))
    trainer.step()
    before, feed = trainer.state(), Objective.feed
    monkeypatch.setattr(Objective, 'feed', lambda self, *given: feed(self, given[0], [np.nan]))
    with pytest.raises(DivergedError, match='the loss of iteration 2 is not finite'):
        trainer.step()
    assert before['loader'] == {'given': 1}
    assert_restores(trainer, before)


def test_an_update_that_spoils_the_weights_leaves_nothing_to_go_back_to():
    trainer = make_trainer(small_network(), {**CONFIG, 'lr': 1e39}, Fixed(*batches()))
    with pytest.raises(DivergedError, match='is not finite after iteration 1 '):
        trainer.step()
    assert not trainer.restore()
    assert not trainer.together


def test_batches_that_cannot_be_loaded_leave_everything_as_it_was():
    """Also the place in the data, when the first of a step's batches could be loaded."""
    given = Fixed(*batches())
    trainer = make_trainer(small_network(), {**CONFIG, 'accumulation': 2}, given)
    trainer.step()
    before, load = trainer.state(), given.next

    def fails():
        if given.given == 3:
            raise InputError('3.png: damaged')
        return load()

    given.next = fails
    with pytest.raises(InputError, match='3.png: damaged'):
        trainer.step()
    assert (given.given, trainer.together, trainer.restore()) == (3, True, True)
    after = trainer.state()
    assert after['loader'] == before['loader'] == {'given': 2}
    assert after['iteration'] == 1
    for name, array in before['parameters'].items():
        assert np.array_equal(after['parameters'][name], array), name
