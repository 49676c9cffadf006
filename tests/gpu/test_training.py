"""Training on a GPU: losses of all families, the self-check, failures, signals."""

import signal
import subprocess
import sys

import nnabla as nn
import numpy as np
import pytest

import models
from engine import config as configs
from engine.device import context
from engine.distributed import communicators
from engine.distributed.processes import Processes
from engine.inference.predictor import Predictor
from engine.training import gpu_check
from engine.training.divergence import DivergedError
from engine.training.losses import Objective
from support import gpu_tests, mpi_jobs, mpi_training, programs, train_runs
from support.gpu_tests import DEVICE, REHEARSED, TYPES, needs_gpu, train_arguments

pytestmark = gpu_tests.marks
data = train_runs.data

# One config of each family and kind, with a size that its network accepts.
TRAINED = {
    'D3Net_T_camvid': (96, 128),
    'DDRNet23slim_cityscapes': (128, 256),
    'DABNet_R18P2_cityscapes': (128, 256),
    'DABNet_E_cityscapes': (128, 256),
    'CSAIL_resnet18dilated8_ppm_deepsup_ade20k': (96, 128),
    'EdgeAILite_fpn_aspp_regnetx400mf_cityscapes': (128, 256),
    'EdgeAILite_deeplabv3plus_mobilenetv2_tv_cityscapes': (128, 256),
}
BUILDS = {  # name -> settings of the build
    'plain': {},
    'channel_last': {'channel_last': True},
    **{
        f'recompute {policy}': {'recompute': policy}
        for policy in ('bn_relu', 'convolution', 'blocks')
    },
}
STEPS = 3
LOSS_BOUNDS = {'float': 2e-3, 'half': 3e-2}  # relative, a step's loss compared with the CPU's


class Batches:
    """Stands in for a loader and repeats one seeded batch."""

    def __init__(self, classes, size, count=2):
        rng = np.random.RandomState(0)
        blocks = rng.randint(-1, classes, (count, 1, size[0] // 16, size[1] // 16))
        self._labels = blocks.repeat(16, 2).repeat(16, 3).astype(np.int32)
        noise = rng.standard_normal((count, 3, *size))
        self._images = (0.3 * noise + self._labels / classes).astype(np.float32)
        self.samples = []

    def next(self):
        return self._images, self._labels

    def state_dict(self):
        return {}


def config_of(name):
    """Load a config without pretrained weights."""
    return configs.load(programs.PROJECT / 'configs' / f'{name}.yaml', ['pretrained=null'])


def trainer_of(name, device, type_config='float', **build):
    """Return the device and a trainer of a config's network on two small images."""
    choice = context.use(device, type_config)
    nn.clear_parameters()
    config = config_of(name)
    network = models.create(config)
    nn.random.set_parameter_seed(0)
    Predictor(network)
    processes = Processes()
    batches = Batches(network.info.num_classes, TRAINED[name])
    return choice, mpi_training.trainer_of(
        network,
        config,
        mpi_training.hyperparameters_of(config, 100, 1),
        batches,
        processes,
        communicators.connect(processes, choice),
        half=type_config == 'half',
        build={'dropout': False, **build},
    )


def losses(*arguments, **build):
    """Return the losses of a few steps, without those skipped because of overflow."""
    _, trainer = trainer_of(*arguments, **build)
    found = []
    while len(found) < STEPS:
        step = trainer.step()
        if not step.skipped:
            found.append(step.loss)
    return np.array(found)


@pytest.fixture(scope='module')
def on_cpu():
    """A function that returns the losses of a config on the CPU, computed once."""
    known = {}

    def find(name):
        if name not in known:
            known[name] = losses(name, 'cpu')
        return known[name]

    return find


@pytest.mark.parametrize('build', BUILDS)
@pytest.mark.parametrize('type_config', TYPES)
@pytest.mark.parametrize('name', TRAINED)
def test_losses_equal_those_of_the_cpu(name, type_config, build, on_cpu, record_property):
    if REHEARSED and build == 'channel_last':
        pytest.skip('the CPU computes in (N, C, H, W) only')
    expected, found = on_cpu(name), losses(name, DEVICE, type_config, **BUILDS[build])
    difference = abs(found / expected - 1).max()
    record_property('losses', ' '.join(f'{loss:.4f}' for loss in found))
    record_property('differ from the CPU by', f'{difference:.1e}')
    assert np.isfinite(found).all()
    assert difference < LOSS_BOUNDS[type_config]


@pytest.mark.parametrize('name', TRAINED)
def test_the_self_check_passes(name):
    """The training is in half precision, which uses the functions of both precisions."""
    type_config = TYPES[-1]
    choice, trainer = trainer_of(name, DEVICE, type_config)
    loss = trainer.loss((2, 3, *TRAINED[name]))
    config = {**config_of(name), 'ema_decay': 0.9, 'clip_norm': 1.0}
    keys = mpi_training.solver_of(models.create(config), config)
    gpu_check.require_agreement(loss, choice, keys, Processes())


@pytest.mark.parametrize('type_config', TYPES)
def test_a_failed_step_is_undone(type_config, monkeypatch):
    """The running statistics are restored as well; their copy is on the device."""
    _, trainer = trainer_of('DABNet_E_cityscapes', DEVICE, type_config)
    trainer.step()
    before, feed = trainer.state(), Objective.feed
    monkeypatch.setattr(Objective, 'feed', lambda self, *given: feed(self, given[0], [np.nan]))
    with pytest.raises(DivergedError, match='the loss of iteration 2 is not finite'):
        trainer.step()
    assert trainer.roll_back()
    after = trainer.state()
    assert after['iteration'] == 1
    for name, array in before['parameters'].items():
        assert np.array_equal(after['parameters'][name], array), name


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_run_can_be_resumed_after_a_signal(number, data, tmp_path, record_property):
    process = subprocess.Popen(
        [sys.executable, *train_arguments(tmp_path, data)],
        cwd=programs.PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = tmp_path / 'run' / 'train.log'
    assert mpi_jobs.wait_for(
        lambda: (log.exists() and 'iteration 12/' in log.read_text()) or process.poll() is not None
    )
    process.send_signal(number)
    errors = process.communicate(timeout=60)[1]
    status = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGKILL: -9}[number]
    assert process.returncode == status, errors
    resumed = programs.run(*train_arguments(tmp_path, data, '--resume'))
    assert resumed.returncode == 0, resumed.stderr
    assert 'iteration 60/60' in log.read_text()
    assert (tmp_path / 'run' / 'final.h5').exists()
    record_property('status', process.returncode)


@needs_gpu
@pytest.mark.parametrize('option', ['--tf32', '-t half'])
def test_train_runs_with_the_self_check(option, data, tmp_path):
    """TF32 is set at the import of the extension, so it needs a process of its own."""
    arguments = train_arguments(tmp_path, data, *option.split())
    arguments.remove('--skip-self-check')
    process = programs.run(*arguments)
    assert process.returncode == 0, process.stderr
