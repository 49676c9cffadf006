"""Contexts, on a machine with or without a GPU."""

import nnabla as nn
import pytest

from command import UserError
from engine import context


def test_the_cpu_can_be_asked_for():
    choice = context.use('cpu')
    assert (choice.name, choice.reason) == ('cpu', None)
    assert str(choice) == 'running on the CPU'
    assert nn.get_current_context().backend == ['cpu:float']


@pytest.mark.parametrize('type_config', ['float', 'half'])
def test_precision_and_device_reach_nnabla(type_config, monkeypatch):
    asked = []

    def context_of(name, **options):
        asked.append((name, options))
        return nn.Context(['cpu:float'], 'CpuCachedArray', '0')

    monkeypatch.setattr(context, 'why_no_gpu', lambda: None)
    monkeypatch.setattr(context, 'get_extension_context', context_of)
    choice = context.use('auto', type_config, device=3)
    assert asked == [('cudnn', {'device_id': '3', 'type_config': type_config})]
    assert str(choice).startswith('running on the GPU')
    assert ('half precision' in str(choice)) == (type_config == 'half')


def test_auto_takes_the_gpu_or_says_why_not():
    choice, reason = context.use('auto'), context.why_no_gpu()
    assert choice.name == ('cpu' if reason else 'cudnn')
    assert choice.reason == reason
    if reason:
        assert reason in str(choice)


def test_a_gpu_that_cannot_be_used_is_refused_with_the_reason(monkeypatch):
    monkeypatch.setattr(context, 'why_no_gpu', lambda: 'no NVIDIA driver')
    with pytest.raises(UserError, match='-c cudnn: no NVIDIA driver; -c cpu runs'):
        context.use('cudnn')
    with pytest.raises(UserError, match='-t half: .*needs a GPU .no NVIDIA driver'):
        context.use('auto', 'half')
    with pytest.raises(UserError, match='-t half'):
        context.use('cpu', 'half')


def test_libraries_are_loaded_in_whatever_order_they_need(tmp_path, monkeypatch):
    """Stands for the loader: each library needs the one whose name comes after its own."""
    names = ['liba.so.1', 'libb.so.1', 'libc.so.1']
    for name in names:
        (tmp_path / 'nvidia' / 'x' / 'lib').mkdir(parents=True, exist_ok=True)
        (tmp_path / 'nvidia' / 'x' / 'lib' / name).touch()
    loaded = []

    def load(path, mode):
        name = path.rsplit('/', 1)[1]
        needs = names[names.index(name) + 1 : names.index(name) + 2]
        if not set(needs) <= set(loaded):
            raise OSError(f'{needs[0]}: cannot open shared object file')
        loaded.append(name)

    monkeypatch.setattr(context.ctypes, 'CDLL', load)
    monkeypatch.setattr(context.sysconfig, 'get_paths', lambda: {'purelib': str(tmp_path)})
    monkeypatch.delenv('OMPI_HOME', raising=False)
    monkeypatch.delenv('NCCL_HOME', raising=False)
    context.load_cuda_libraries()
    assert loaded == names[::-1]
    assert context.os.environ['NCCL_HOME'] == str(tmp_path / 'nvidia' / 'nccl')


def test_libraries_that_never_load_are_left_to_the_extension(tmp_path, monkeypatch):
    folder = tmp_path / 'nvidia' / 'x' / 'lib'
    folder.mkdir(parents=True)
    (folder / 'libbroken.so.1').write_bytes(b'not a library')
    monkeypatch.setattr(context.sysconfig, 'get_paths', lambda: {'purelib': str(tmp_path)})
    context.load_cuda_libraries()


def test_half_precision_can_be_taken_out():
    half = nn.Context(['cudnn:half', 'cudnn:float', 'cuda:half', 'cuda:float', 'cpu:float'])
    assert context.float_context(half).backend == ['cudnn:float', 'cuda:float', 'cpu:float']
    assert context.float_context().backend == nn.get_current_context().backend
