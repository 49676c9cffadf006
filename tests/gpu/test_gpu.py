"""What only a GPU can prove: `make test-gpu`, on a machine with one or more.

A GPU's numbers differ from the CPU's by the order of sums, and from run to run by atomic additions.
"""

import json
import signal
import subprocess
import sys

import cv2
import nnabla as nn
import nnabla.functions as F
import numpy as np
import pytest

import evaluate
import infer
import models
from common import command
from conftest import SHARED
from engine import config as configs
from engine.device import context, extension
from engine.distributed import communicators
from engine.distributed.processes import Processes
from engine.inference.predictor import Predictor
from engine.training import gpu_check
from engine.training.divergence import DivergedError
from engine.training.losses import Objective
from layers import functions as L
from support import mpi_jobs, mpi_training, programs, reference_outputs, train_runs
from support.reference_tester import Reference
from tests.d3net import test_reference as d3net_reference
from tests.gpu.conftest import DEVICE, REHEARSED, TYPES

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(280)]
data = train_runs.data

PHOTO = programs.PROJECT / 'resources' / 'street.jpg'
CONFIG = programs.PROJECT / 'configs' / 'D3Net_T_camvid.yaml'
FIXTURES = sorted(path.stem for path in SHARED.glob('reference/*.json'))
COMPUTE = {  # by the beginning of a name
    'csail': reference_outputs.csail_evaluation,
    'dabnet': reference_outputs.dabnet_evaluation,
    'ddrnet': reference_outputs.ddrnet_evaluation,
    '': reference_outputs.edgeailite_evaluation,
}
# One config of each family and form, with a size that its network takes.
TRAINED = {
    'D3Net_T_camvid': (96, 128),
    'DDRNet23slim_cityscapes': (128, 256),
    'DABNet_R18P2_cityscapes': (128, 256),
    'DABNet_E_cityscapes': (128, 256),
    'CSAIL_resnet18dilated8_ppm_deepsup_ade20k': (96, 128),
    'EdgeAILite_fpn_aspp_regnetx400mf_cityscapes': (128, 256),
    'EdgeAILite_deeplabv3plus_mobilenetv2_tv_cityscapes': (128, 256),
}
WAYS = {  # fields of a build
    'plain': {},
    'channel_last': {'channel_last': True},
    **{
        f'recompute {policy}': {'recompute': policy}
        for policy in ('bn_relu', 'convolution', 'blocks')
    },
}
STEPS = 3
LOSS_BOUNDS = {'float': 2e-3, 'half': 3e-2}  # relative, of a step's loss against the CPU's
SHARES_OF_LABELS = {'float': 1e-4, 'half': 2e-3}  # that may differ from the CPU's
SCORES = {'float': 0.02, 'half': 0.1}  # by how much a mIoU of 57.088 may differ
JOINED_BOUNDS = {'plain': 1e-4, 'normed': 1e-3}  # of a parameter's norm, several GPUs against one

needs_gpu = pytest.mark.skipif(REHEARSED, reason='rehearsed on the CPU')


class Batches:
    """Stands for a loader: the same seeded batch again and again."""

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


def run(program, *arguments):
    """Run a command of the project in this process; returns its exit status."""
    nn.clear_parameters()
    return command.run_command(program.build_parser, program.main, [str(a) for a in arguments])


def config_of(name):
    """A config that starts from random values."""
    return configs.load(programs.PROJECT / 'configs' / f'{name}.yaml', ['pretrained=null'])


def trainer_of(name, device, type_config='float', **build):
    """A trainer of a config's network on two small images."""
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
        mpi_training.recipe_of(config, 100, 1),
        batches,
        processes,
        communicators.connect(processes, choice),
        half=type_config == 'half',
        build={'dropout': False, **build},
    )


def losses(*arguments, **build):
    """The losses of a few steps, of those that were not skipped for overflowing."""
    _, trainer = trainer_of(*arguments, **build)
    found = []
    while len(found) < STEPS:
        step = trainer.step()
        if not step.skipped:
            found.append(step.loss)
    return np.array(found)


@pytest.fixture(scope='module')
def on_cpu():
    """The losses on the CPU by config, computed once each."""
    known = {}

    def find(name):
        if name not in known:
            known[name] = losses(name, 'cpu')
        return known[name]

    return find


@needs_gpu
def test_environment(record_property):
    process = programs.run('-m', 'engine.environment')
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    assert '-c cudnn: works: in float and half' in lines
    assert 'communicator: is registered for cuda:float, cuda:half' in lines
    assert 'Initializing' not in process.stdout + process.stderr
    record_property('GPUs', extension.load().get_device_count())


@pytest.mark.parametrize('type_config', TYPES)
def test_labels_of_infer(type_config, tmp_path, record_property):
    def labels(*options):
        out = tmp_path / 'result.png'
        arguments = ['-i', PHOTO, '-cfg', CONFIG, '-o', out, '--save-labels', '--backend', 'nnabla']
        assert run(infer, *arguments, *options) == 0
        return cv2.imread(str(tmp_path / 'result_labels.png'), cv2.IMREAD_UNCHANGED)

    found, expected = labels('-c', DEVICE, '-t', type_config), labels('-c', 'cpu')
    differ = int((found != expected).sum())
    record_property('labels that differ', f'{differ} of {expected.size}')
    assert len(np.unique(expected)) > 3
    assert differ <= SHARES_OF_LABELS[type_config] * expected.size


@pytest.mark.parametrize('name', FIXTURES[:3] if REHEARSED else FIXTURES)
def test_reference(name, record_property):
    context.use(DEVICE)
    if name.startswith('d3net'):
        worst = d3net_reference.check_outputs(*d3net_reference.load_fixture(name, SHARED))
    else:
        compute = next(c for beginning, c in COMPUTE.items() if name.startswith(beginning))
        reference = Reference(name, SHARED)
        reference.check_state()
        worst = reference.check_outputs(compute, with_intermediates=False)
    record_property('share of the tolerance', f'{worst:.3f}')


def test_references_are_there():
    """No fixture is no proof."""
    assert FIXTURES, f'no fixtures in {SHARED}/reference: SHARED=DIR names their folder'


@pytest.mark.parametrize('type_config', TYPES)
def test_score_of_camvid(type_config, tmp_path, record_property):
    camvid = SHARED / 'data' / 'camvid'
    if not camvid.is_dir():
        pytest.skip(f'no {camvid}')
    options = ['-d', camvid, '-cfg', CONFIG, '-c', DEVICE, '-t', type_config, '--backend', 'nnabla']
    options += ['--json', tmp_path / 'scores.json', *(['--limit', 3] if REHEARSED else [])]
    assert run(evaluate, *options) == 0
    miou = json.loads((tmp_path / 'scores.json').read_text())['miou']
    record_property('mIoU', miou)
    assert REHEARSED or miou == pytest.approx(57.088, abs=SCORES[type_config])


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('type_config', TYPES)
@pytest.mark.parametrize('name', TRAINED)
def test_training(name, type_config, way, on_cpu, record_property):
    if REHEARSED and way == 'channel_last':
        pytest.skip('the CPU computes in (N, C, H, W) only')
    expected, found = on_cpu(name), losses(name, DEVICE, type_config, **WAYS[way])
    difference = abs(found / expected - 1).max()
    record_property('losses', ' '.join(f'{loss:.4f}' for loss in found))
    record_property('differ from the CPU by', f'{difference:.1e}')
    assert np.isfinite(found).all()
    assert difference < LOSS_BOUNDS[type_config]


@pytest.mark.parametrize('name', TRAINED)
def test_self_check(name):
    """In the precision that has the functions of both."""
    type_config = TYPES[-1]
    choice, trainer = trainer_of(name, DEVICE, type_config)
    loss = trainer.loss((2, 3, *TRAINED[name]))
    config = {**config_of(name), 'ema_decay': 0.9, 'clip_norm': 1.0}
    keys = mpi_training.solver_of(models.create(config), config)
    gpu_check.require(loss, choice, keys, Processes())


@pytest.mark.parametrize('type_config', TYPES)
def test_a_step_that_fails_is_taken_back(type_config, monkeypatch):
    """Running statistics, of which a copy is on the device, are those of the step before."""
    _, trainer = trainer_of('DABNet_E_cityscapes', DEVICE, type_config)
    trainer.step()
    before, feed = trainer.state(), Objective.feed
    monkeypatch.setattr(Objective, 'feed', lambda self, *given: feed(self, given[0], [np.nan]))
    with pytest.raises(DivergedError, match='the loss of iteration 2 is not finite'):
        trainer.step()
    assert trainer.restore()
    after = trainer.state()
    assert after['iteration'] == 1
    for name, array in before['parameters'].items():
        assert np.array_equal(after['parameters'][name], array), name


def arguments_of_train(folder, data, *more):
    config = train_runs.write_config(folder, max_iter=60, save_interval=5, log_interval=None)
    options = ['-d', data, '-cfg', config, '-c', DEVICE, '-o', folder / 'run', '--log-interval', 1]
    return [str(part) for part in ('train.py', *options, '--skip-self-check', *more)]


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_signal_and_resume(number, data, tmp_path, record_property):
    process = subprocess.Popen(
        [sys.executable, *arguments_of_train(tmp_path, data)],
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
    told = process.communicate(timeout=60)[1]
    status = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGKILL: -9}[number]
    assert process.returncode == status, told
    resumed = programs.run(*arguments_of_train(tmp_path, data, '--resume'))
    assert resumed.returncode == 0, resumed.stderr
    assert 'iteration 60/60' in log.read_text()
    assert (tmp_path / 'run' / 'final.h5').exists()
    record_property('status', process.returncode)


@needs_gpu
@pytest.mark.parametrize('option', ['--tf32', '-t half'])
def test_train_py_with_the_self_check(option, data, tmp_path):
    """TF32 is decided when the extension is imported: it needs a process of its own."""
    arguments = arguments_of_train(tmp_path, data, *option.split())
    arguments.remove('--skip-self-check')
    process = programs.run(*arguments)
    assert process.returncode == 0, process.stderr


@needs_gpu
def test_nccl_with_one_rank():
    """NNabla's communicator in this process: sums, and synchronized batch norm."""
    choice = context.use('cudnn')
    communicator = extension.create_communicator(nn.get_current_context())
    communicator.init()
    assert (communicator.size, communicator.rank) == (1, 0)
    rng = np.random.RandomState(0)
    gradient = nn.NdArray.from_numpy_array(rng.rand(3, 5).astype(np.float32))
    before = gradient.data.copy()
    communicator.all_reduce([gradient], division=False, inplace=False)
    assert np.array_equal(gradient.data, before)

    def forward_and_backward(function, **options):
        x = nn.Variable.from_numpy_array(rng.standard_normal((2, 4, 9, 7)).astype(np.float32))
        x.need_grad = True
        parameters = [
            nn.Variable.from_numpy_array(np.full((1, 4, 1, 1), value, np.float32)).apply(
                need_grad=index < 2
            )
            for index, value in enumerate((0.1, 1.2, 0, 1))
        ]
        y = function(x, *parameters, batch_stat=True, **options)
        (loss := L.mean_all(y * y * y)).forward()
        x.grad.zero()
        loss.backward()
        return y.d.copy(), x.g.copy(), parameters[3].d.copy()

    state = rng.get_state()
    synchronized = forward_and_backward(F.sync_batch_normalization, comm=communicator)
    rng.set_state(state)
    for own, expected in zip(synchronized, forward_and_backward(F.batch_normalization)):
        assert np.linalg.norm(own - expected) <= 1e-4 * np.linalg.norm(expected)
    assert choice.name == 'cudnn'


def gpu_count():
    return 2 if REHEARSED else extension.load().get_device_count()


def test_all_gpus_equal_one(tmp_path, record_property):
    """Sums of gradients and synchronized batch norms, of as many processes as there are GPUs."""
    count = gpu_count()
    mpi_training.write_data(tmp_path / 'data')
    cases = {name: {'network': name, 'batch_size': 2} for name in JOINED_BOUNDS}
    program = (
        'tests/support/mpi_training.py',
        tmp_path / 'data',
        tmp_path,
        json.dumps(cases),
        DEVICE,
    )
    job = mpi_jobs.run(count, *program)
    assert job.returncode == 0, job.stderr
    for name, bound in JOINED_BOUNDS.items():
        ranks = dict(np.load(tmp_path / f'{name}.npz'))
        case = {'network': name, 'batch_size': 2 * count}
        one = mpi_training.train(tmp_path / 'data', Processes(), case, DEVICE)
        worst = max(
            np.linalg.norm(ranks[key] - values) / np.linalg.norm(values)
            for key, values in one.items()
        )
        record_property(f'{name}, {count} ranks against one', f'{worst:.1e}')
        assert worst < bound


@needs_gpu
def test_a_rank_too_many_is_refused(data, tmp_path):
    count = gpu_count()
    job = mpi_jobs.run(count + 1, *arguments_of_train(tmp_path, data))
    assert job.returncode == 2
    assert f'{count} GPU' in job.stderr
    assert f'rank {count} needs a' in job.stderr
    assert 'start one process per GPU' in job.stderr
    assert 'Traceback' not in job.stderr
