"""Selection of the context, on a machine with or without a GPU."""

import sys
from types import ModuleType

import nnabla as nn
import pytest

from common.errors import UserError
from engine.device import context
from support import mpi_jobs


def test_the_cpu_can_be_requested():
    choice = context.use('cpu')
    assert (choice.name, choice.reason) == ('cpu', None)
    assert str(choice) == 'running on the CPU'
    assert nn.get_current_context().backend == ['cpu:float']


@pytest.mark.parametrize('type_config', ['float', 'half'])
def test_precision_and_device_reach_nnabla(type_config, monkeypatch):
    calls = []

    def context_of(name, **options):
        calls.append((name, options))
        return nn.Context(['cpu:float'], 'CpuCachedArray', '0')

    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    monkeypatch.setattr(context, 'why_no_gpu', calls.append)
    monkeypatch.setattr(context, 'get_extension_context', context_of)
    choice = context.use('auto', type_config, device=3)
    assert calls == [3, ('cudnn', {'device_id': '3', 'type_config': type_config})]
    assert str(choice).startswith('running on the GPU 3')
    assert ('half precision' in str(choice)) == (type_config == 'half')


def test_auto_uses_the_gpu_or_reports_why_not():
    choice, reason = context.use('auto'), context.why_no_gpu()
    assert choice.name == ('cpu' if reason else 'cudnn')
    assert choice.reason == reason
    if reason:
        assert reason in str(choice)


def test_an_unusable_gpu_is_refused_with_the_reason(monkeypatch):
    monkeypatch.setattr(context, 'why_no_gpu', lambda device: 'no NVIDIA driver')
    with pytest.raises(UserError, match='-c cudnn: no NVIDIA driver; use -c cpu'):
        context.use('cudnn')
    with pytest.raises(UserError, match='-t half: needs a GPU, .*no NVIDIA driver'):
        context.use('auto', 'half')
    with pytest.raises(UserError, match='-t half'):
        context.use('cpu', 'half')


@pytest.mark.parametrize(('visible', 'device'), [('5', 0), ('GPU-1f', 0), ('4,5', 1), ('', 1)])
def test_a_process_that_sees_a_single_gpu_uses_it(visible, device, monkeypatch):
    """Its number on the machine does not matter; among several GPUs it selects one."""
    tried = []
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)
    monkeypatch.setattr(context, 'why_no_gpu', tried.append)
    monkeypatch.setattr(context, 'get_extension_context', lambda *_, **__: nn.get_current_context())
    assert context.use('cudnn', device=1).device == device
    assert tried == [device]


@pytest.mark.parametrize('inherited', ['0', '1'])
def test_tf32_overrides_the_environment(inherited, monkeypatch):
    for tf32 in (True, False):
        monkeypatch.setenv(context.TF32_VARIABLE, inherited)
        assert context.use('cpu', tf32=tf32).tf32 == tf32
        assert context.os.environ[context.TF32_VARIABLE] == str(int(tf32))


class NVMLError(Exception):
    """An error with the name of NVML's base class."""


class NVMLErrorDriverNotLoaded(NVMLError):
    """One of NVML's error classes."""


@pytest.fixture
def extension(monkeypatch):
    """A stand-in for NNabla's extension with two GPUs, which computes on the CPU."""
    module = ModuleType('nnabla_ext.cudnn')
    module.get_device_count = lambda: 2
    monkeypatch.setitem(sys.modules, 'nnabla_ext.cudnn', module)
    monkeypatch.setattr(context, 'get_extension_context', lambda *_, **__: nn.get_current_context())
    return module


def test_the_gpu_of_the_process_is_tried(extension, monkeypatch):
    tried = []

    def context_of(name, device_id):
        tried.append(device_id)
        return nn.get_current_context()

    monkeypatch.setattr(context, 'get_extension_context', context_of)
    assert context.why_no_gpu(1) is None
    assert tried == ['1']
    monkeypatch.setenv('SLURM_STEP_NUM_TASKS', '4')
    monkeypatch.setenv('SLURM_PROCID', '3')
    assert context.why_no_gpu(2) == (
        'this machine has 2 GPUs; rank 3 needs a third one: start one process per GPU'
    )
    monkeypatch.setattr(extension, 'get_device_count', lambda: 1)
    assert context.why_no_gpu(1) == (
        'this machine has 1 GPU; rank 3 needs a second one: start one process per GPU'
    )
    monkeypatch.setattr(extension, 'get_device_count', lambda: 0)
    assert context.why_no_gpu(0) == 'this machine has no GPU'
    assert tried == ['1']


@pytest.mark.parametrize(
    'error',
    [NVMLErrorDriverNotLoaded('no driver'), ValueError('no driver'), RuntimeError('\nno driver')],
)
def test_an_error_of_the_driver_is_a_reason(error, extension, monkeypatch):
    def refuse(*arguments, **options):
        raise error

    monkeypatch.setattr(context, 'get_extension_context', refuse)
    assert context.why_no_gpu() == 'the GPU does not respond: no driver'


def test_a_programming_error_is_raised(extension, monkeypatch):
    monkeypatch.setattr(extension, 'get_device_count', lambda: len(None))
    with pytest.raises(TypeError):
        context.why_no_gpu()


def test_each_rank_tries_a_gpu_of_its_own(installed):
    job = mpi_jobs.run(2, '-m', 'engine.environment', **installed('get_device_count = lambda: 1\n'))
    assert job.returncode == 0, job.stderr
    lines = [
        line
        for line in job.stdout.splitlines()
        if 'this machine has 1 GPU; rank 1 needs a second' in line
    ]
    assert len(lines) == 1
    assert lines[0].startswith('rank 1 on ')
