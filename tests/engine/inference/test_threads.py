"""Threads share a predictor; networks loaded together keep parameters of their own."""

from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial

import nnabla as nn
import numpy as np
import pytest

from common.errors import InputError
from engine import config as configs
from engine.backends.settings import BackendSettings
from engine.device.settings import DeviceSettings
from engine.inference import loading
from engine.inference.predictor import WHOLE_IMAGE, Predictor
from engine.inference.settings import WeightsSettings
from engine.inference.test_time import Protocol
from models import complexity, weights
from support import backend_runs, stand_ins
from support.tiny_config import write_tiny_config

THREADS = 4
SIZES = (32, 48), (40, 32), (45, 61)
IMAGES = [stand_ins.image(*SIZES[i % 3], seed=i) for i in range(12)]
VIEWS = [  # of these, few have other sizes than the images: compiling takes long
    WHOLE_IMAGE,
    WHOLE_IMAGE,
    WHOLE_IMAGE,
    Protocol(size=(80, 64), scales=(0.5, 0.8), flip=True),
    WHOLE_IMAGE,
    Protocol(window=(40, 32), flip=True),
]
TASKS = list(zip(IMAGES, 2 * VIEWS))


def make(name, disk_cache):
    """Return a predictor that uses a backend, or whole graphs on the device."""
    if name == 'on_device':
        made = Predictor(stand_ins.tiny())
        made.stay_on_device()
    else:
        made = backend_runs.predictor_with(name, stand_ins.tiny(), disk_cache)
    stand_ins.randomize_parameters()
    return made


def in_threads(function):
    """Call ``function(thread)`` in all threads at once; return the results."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(function, range(THREADS)))


def shuffled(thread):
    return np.random.RandomState(thread).permutation(len(TASKS))


def backend_in_use(predictor):
    """Return the backend that computes the next image of a known size."""
    return getattr(predictor.backend, '_backend', predictor.backend)


@pytest.mark.parametrize('name', ['nnabla', 'on_device', 'openvino', 'onnxruntime', 'auto'])
def test_labels_are_those_of_one_thread(name, disk_cache):
    """The last threads find what the first ones built; a run in one thread follows them."""
    shared = make(name, disk_cache)

    def work(thread):
        return {i: shared.labels(*TASKS[i]) for i in shuffled(thread)}

    found = in_threads(work)
    backend = backend_in_use(shared)
    reference = make('nnabla', disk_cache)
    for i, task in enumerate(TASKS):
        alone, expected = shared.labels(*task), reference.labels(*task)
        assert len(np.unique(expected)) > 1
        for labels in (alone, *(each[i] for each in found)):
            # auto computes the first image of most sizes with NNabla, which rounds differently
            assert name == 'auto' or np.array_equal(labels, alone), (i, task[1])
            assert (labels == expected).mean() > 0.999
    assert backend_in_use(shared) is backend
    wanted = {'on_device': {'nnabla'}, 'auto': {'nnabla', 'openvino'}}.get(name, {name})
    assert shared.backend.used == wanted


@pytest.mark.parametrize('name', ['nnabla', 'auto'])
def test_lack_of_memory_in_some_threads_harms_no_other(name, disk_cache):
    """Every second thread runs out of memory, which closes the backend that all of them share."""
    shared, reference = make(name, disk_cache), make('nnabla', disk_cache)
    expected = [reference.labels(image) for image in IMAGES]
    too_large, run = (1, 3, 70, 70), shared.backend.run

    def run_out_of_memory(x):
        if x.shape == too_large:
            raise MemoryError
        return run(x)

    shared.backend.run = run_out_of_memory
    large = stand_ins.image(*too_large[2:])

    def work(thread):
        failures = 0
        for i in shuffled(thread):
            assert np.array_equal(shared.labels(IMAGES[i]), expected[i])
            if thread % 2:
                with pytest.raises(InputError, match='a view of 70x70 pixels'):
                    shared.labels(large)
                failures += 1
        return failures

    assert in_threads(work) == [0, len(IMAGES), 0, len(IMAGES)]
    assert name == 'nnabla' or backend_in_use(shared).runtime.name == 'openvino'


def test_threads_use_the_context_and_the_parameters_of_the_creation(tiny):
    """Other threads may have made another context or other parameters current since."""
    image = IMAGES[0]
    expected = tiny.labels(image)
    contexts = []
    tiny.network.__dict__['family'] = _spying_on_contexts(tiny.network.family, contexts)
    tiny.backend.close()
    made_in = nn.get_current_context()
    elsewhere = nn.Context(['cpu:float'], 'CpuArray', '0')
    with nn.context_scope(elsewhere), nn.parameter_scope('', {}), ThreadPoolExecutor(1) as pool:
        assert np.array_equal(pool.submit(tiny.labels, image).result(), expected)
        assert not nn.get_parameters(grad_only=False)
    assert contexts == [made_in.array_class] == ['CpuCachedArray']


def _spying_on_contexts(family, contexts):
    """Return a family whose graphs note the context in which they are built."""

    def graph(*arguments, **hyper):
        contexts.append(nn.get_current_context().array_class)
        return family.graph(*arguments, **hyper)

    return type(family)(**{**vars(family), 'graph': graph})


def test_networks_loaded_together_keep_their_own_weights(tmp_path):
    """Two files of weights of one network, and another network with parameters of these names."""
    config = write_tiny_config(tmp_path, 'camvid', 11)
    stand_ins.tiny(num_classes=11)(nn.Variable((1, 3, 32, 32)))
    stand_ins.randomize_parameters(seed=1)
    weights.save(tmp_path / 'other.h5')
    nn.clear_parameters()
    wider = stand_ins.tiny(num_classes=11, channels=12)
    wider(nn.Variable((1, 3, 32, 32)))
    stand_ins.randomize_parameters()
    weights.save(tmp_path / 'wider.h5')
    nn.clear_parameters()
    one, *_ = IMAGES
    choices = [('tiny.h5', []), ('other.h5', []), ('wider.h5', ['channels=12'])]

    def load(file, overrides):
        loaded = loading.load(
            configs.load(config, overrides),
            WeightsSettings(weights=str(tmp_path / file)),
            DeviceSettings(context='cpu'),
            BackendSettings('auto'),  # exports the network and compares it with NNabla
        )
        return loaded.predictor.labels

    expected = [load(*choice)(one) for choice in choices]  # before the next one is loaded
    assert len({labels.tobytes() for labels in expected}) == 3
    together = [load(*choice) for choice in choices]
    for _ in range(2):
        for labels, wanted in zip(together, expected):
            assert np.array_equal(labels(one), wanted)
    found = in_threads(lambda thread: together[thread % 3](one))
    assert all(np.array_equal(found[i], expected[i % 3]) for i in range(THREADS))
    assert not nn.get_parameters(grad_only=False)


def test_networks_are_loaded_while_others_run(tmp_path):
    """Loading changes the current context and registers parameters."""
    load = partial(
        loading.load,
        configs.load(write_tiny_config(tmp_path, 'camvid', 11), []),
        WeightsSettings(),
        DeviceSettings(context='cpu'),
        BackendSettings('nnabla'),
    )
    first = load().predictor
    expected = [first.labels(image) for image in IMAGES]

    def work(thread):
        labels = first.labels if thread % 2 else load().predictor.labels
        return [np.array_equal(labels(IMAGES[i]), expected[i]) for i in shuffled(thread)]

    assert all(map(all, in_threads(work)))


def test_graphs_of_other_threads_wait(tiny):
    """Counting builds a graph in a scope of its own, which is global as well."""
    with ThreadPoolExecutor(1) as pool:
        with tiny.workspace.entered():
            scope = nn.parameter.get_current_parameter_scope()
            counted = pool.submit(complexity.measure_network, stand_ins.tiny(), (64, 64))
            with pytest.raises(FutureTimeout):
                counted.result(timeout=0.3)
            assert nn.parameter.get_current_parameter_scope() is scope
        assert counted.result()
