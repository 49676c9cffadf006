"""PyTorch's names and NNabla's, and python -m models.convert from a file to a file."""

import nnabla as nn
import numpy as np
import pytest

import models
from common import files
from common.command import run_command
from models import weights
from models.convert import __main__ as convert_command
from models.convert import checkpoints, matching
from models.weights import published
from support import programs, stand_ins
from support.checkpoint_writer import Call, Checkpoint, Global
from support.download_server import Server

FIXTURES = [
    'csail_resnet101_upernet',
    'csail_resnet101dilated8_ppm_deepsup',
    'csail_resnet18dilated16_c1_deepsup',
    'csail_resnet18dilated8_c1_deepsup',
    'csail_resnet18dilated8_ppm_deepsup',
    'csail_resnet50_upernet',
    'csail_resnet50_upernet_lite',
    'csail_resnet50dilated16_c1',
    'csail_resnet50dilated8_ppm',
    'csail_resnet50dilated8_ppm_deepsup',
    'dabnet_e',
    'dabnet_r18_p1',
    'dabnet_r18_p16',
    'dabnet_r18_p2',
    'dabnet_r18_p8',
    'ddrnet23',
    'ddrnet23_aux',
    'ddrnet23_slim',
    'ddrnet23_slim_aux',
    'ddrnet39',
    'ddrnet39_aux',
    'deeplabv3plus_mobilenetv2_tv_edgeailite',
    'deeplabv3plus_regnetx800mf_edgeailite',
    'fpn_aspp_mobilenetv2_tv_edgeailite',
    'fpn_aspp_mobilenetv2_tv_fd_edgeailite',
    'fpn_aspp_regnetx1p6gf_edgeailite',
    'fpn_aspp_regnetx3p2gf_edgeailite',
    'fpn_aspp_regnetx400mf_edgeailite',
    'fpn_aspp_regnetx800mf_edgeailite',
    'unet_aspp_mobilenetv2_tv_edgeailite',
    'unet_aspp_regnetx800mf_edgeailite',
]


def fixture(shared, name):
    return stand_ins.seeded_weights(shared).load_fixture(name)[0]


def seeded_state(shared, name):
    """A reference's state: seeded parameters, and its counters."""
    seeded = stand_ins.seeded_weights(shared)
    meta = fixture(shared, name)
    values = dict(seeded.seeded_state(meta))
    return {n: values.get(n, np.zeros(shape)) for n, shape, _ in meta['state']}


def convert(*options):
    """The exit status of the command."""
    return run_command(
        convert_command.build_parser, convert_command.main, [str(o) for o in options]
    )


def assert_same(path, expected):
    found = weights.read(path)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert np.array_equal(found[name], array), name


def test_all_fixtures_are_here(shared):
    names = {path.stem for path in (shared / 'reference').glob('*.json')}
    assert names - {'d3net_l', 'd3net_s'} == set(FIXTURES)


@pytest.mark.parametrize('name', FIXTURES)
def test_names_and_shapes_of_a_reference_are_those_of_the_network(shared, name):
    state = [e for e in fixture(shared, name)['state'] if e[2] != 'skip']
    own = matching.network_shapes(name)
    assert own == {n: tuple(shape) for n, shape, _ in state}
    mapped = models.convert.names({n: None for n, _, _ in state})
    assert [models.convert.reference_name(n) for n in mapped.values()] == list(mapped)


def test_to_pytorch_is_the_inverse_of_from_pytorch():
    state = {
        'layer1.0.conv1.weight': np.arange(24).reshape(2, 3, 2, 2),
        'layer1.0.conv1.bias': np.arange(2),
        'layer1.0.bn.weight': np.arange(3),
        'layer1.0.bn.bias': np.arange(3),
        'layer1.0.bn.running_mean': np.arange(3),
        'layer1.0.bn.running_var': np.arange(3),
        'layer1.0.bn.num_batches_tracked': np.array(3),
    }
    arrays = models.convert.from_pytorch('ddrnet23', state)
    assert {n: a.shape for n, a in arrays.items()} == {
        'layer1/0/conv1/conv/W': (2, 3, 2, 2),
        'layer1/0/conv1/conv/b': (2,),
        'layer1/0/bn/bn/gamma': (1, 3, 1, 1),
        'layer1/0/bn/bn/beta': (1, 3, 1, 1),
        'layer1/0/bn/bn/mean': (1, 3, 1, 1),
        'layer1/0/bn/bn/var': (1, 3, 1, 1),
    }
    back = models.convert.to_pytorch('ddrnet23', arrays)
    del state['layer1.0.bn.num_batches_tracked']
    assert back.keys() == state.keys()
    assert all(np.array_equal(back[n], state[n]) for n in state)


def test_names_of_something_else_are_refused():
    for name in ('weight', 'a.weight_g', 'a.alpha', 'loss'):
        with pytest.raises(models.ModelError, match=f'{name} is not a parameter'):
            models.convert.from_pytorch('ddrnet23', {name: np.zeros(3)})
    for name in ('conv/W', 'a/conv/X', 'W', 'a/bn/W'):
        with pytest.raises(models.ModelError, match=f'{name} is not a parameter'):
            models.convert.to_pytorch('ddrnet23', {name: np.zeros(3)})


def test_d3net_has_no_pytorch_original(tmp_path, capsys):
    for function in (models.convert.from_pytorch, models.convert.to_pytorch):
        for name in ('d3net', 'd3net_s'):
            with pytest.raises(
                models.ModelError, match='no PyTorch original.*load without conversion'
            ):
                function(name, {})
    assert convert('--network', 'd3net_s', '-i', 'a.pth', '-o', tmp_path / 'a.h5') == 2
    assert 'no PyTorch original' in capsys.readouterr().err


def write_ddrnet(checkpoint, state, folder):
    """As HRNet's trainer saves: the network and the loss in one module; PyTorch before 1.6."""
    tree = checkpoint.state(state, 'model.') | {
        'loss.criterion.weight': checkpoint.tensor(np.ones(19))
    }
    return [checkpoint.save(folder / 'best_val.pth', tree, legacy=True)]


def write_csail(checkpoint, state, folder):
    """Encoder and decoder apart, with the counters of its synchronized batch norm."""
    paths = []
    for half in ('encoder', 'decoder'):
        one = Checkpoint()
        arrays = {n.removeprefix(f'{half}.'): a for n, a in state.items() if n.startswith(half)}
        paths.append(one.save(folder / f'{half}_epoch_20.pth', one.state(arrays), legacy=True))
    return paths


def write_mmseg(checkpoint, state, folder):
    """As OpenMMLab's runner saves."""
    tree = {'meta': {'epoch': 3}, 'state_dict': checkpoint.state(state), 'optimizer': {}}
    return [checkpoint.save(folder / 'latest.pth', tree)]


def write_ti(checkpoint, state, folder):
    """As TI's trainer saves, from several GPUs."""
    namespace = Call(Global('argparse', 'Namespace'), (), {'epochs': 3}, new=True)
    tree = {'args': namespace, 'state_dict': checkpoint.state(state, 'module.'), 'epoch': 3}
    return [checkpoint.save(folder / 'model_best.pth', tree)]


@pytest.mark.parametrize(
    ('name', 'write'),
    [
        ('ddrnet23_slim', write_ddrnet),
        ('ddrnet23_slim_aux', write_ddrnet),
        ('csail_resnet18dilated8_c1_deepsup', write_csail),
        ('dabnet_r18_p2', write_mmseg),
        ('fpn_aspp_mobilenetv2_tv_edgeailite', write_ti),
        ('fpn_aspp_regnetx400mf_edgeailite', write_ti),
    ],
)
def test_from_a_file_to_a_file_and_back(shared, tmp_path, capsys, name, write):
    state = seeded_state(shared, name)
    paths = write(Checkpoint(), state, tmp_path)
    inputs = [option for path in paths for option in ('-i', path)]
    target = tmp_path / 'out.h5'
    assert convert('--network', name, *inputs, '-o', target) == 0, capsys.readouterr().err
    expected = models.convert.from_pytorch(name, state)
    assert_same(target, expected)
    told = capsys.readouterr().out
    assert all(path.name in told for path in paths)
    assert f'{target}: {len(expected)} arrays of {name}' in told
    ignored = len(state) - len(expected) + ('ddrnet' in name)
    assert f'and arrays of a loss ({ignored})' in told

    back = tmp_path / 'back.safetensors'
    assert convert('--network', name, '-i', target, '--to-pytorch', back) == 0
    again = tmp_path / 'again.h5'
    assert convert('--network', name, '-i', back, '-o', again) == 0
    assert again.read_bytes() == target.read_bytes()


@pytest.fixture(scope='module')
def small(shared):
    """The state of the smallest network there is, without counters."""
    state = seeded_state(shared, 'ddrnet23_slim')
    return {n: a for n, a in state.items() if not n.endswith('num_batches_tracked')}


@pytest.fixture
def checkpoint_file(small, tmp_path):
    checkpoint = Checkpoint()
    return checkpoint.save(tmp_path / 'a.pth', checkpoint.state(small))


def test_as_a_user_calls_it(small, checkpoint_file, tmp_path):
    process = programs.run(
        '-m', 'models.convert', '--network', 'ddrnet23_slim', '-i', checkpoint_file,
        '-o', tmp_path / 'new' / 'a.h5', '--check', cwd=programs.PROJECT,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert 'Warning' not in process.stderr
    assert_same(tmp_path / 'new' / 'a.h5', models.convert.from_pytorch('ddrnet23_slim', small))
    assert 'street.jpg, 128x' in process.stdout
    assert 'logits from ' in process.stdout
    assert 'predicted classes: ' in process.stdout


def test_verbose_lists_every_array(checkpoint_file, small, tmp_path, capsys):
    options = '--network', 'ddrnet23_slim', '-i', checkpoint_file, '-o', tmp_path / 'a.h5'
    assert convert(*options) == 0
    assert len(capsys.readouterr().out.splitlines()) < 30
    assert convert(*options, '--verbose') == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(small) + 1
    assert any(
        line.split() == ['a.pth', 'conv1.0.weight', '->', 'conv1/0/conv/W', '32x3x3x3']
        for line in lines
    )


@pytest.mark.parametrize(
    ('value', 'element', 'options', 'message'),
    [
        (np.nan, 'float32', [], 'final_layer.conv2.weight is not finite'),
        (1e300, 'float64', [], 'final_layer.conv2.weight is not finite'),
        (3e38, 'float32', ['--check'], 'the logits are not finite'),
    ],
)
def test_numbers_that_cannot_be_weights(small, tmp_path, capsys, value, element, options, message):
    checkpoint = Checkpoint()
    tree = checkpoint.state(small)
    tree['final_layer.conv2.weight'] = checkpoint.tensor(np.full((19, 64, 1, 1), value), element)
    path = checkpoint.save(tmp_path / 'a.pth', tree)
    target = tmp_path / 'a.h5'
    assert convert('--network', 'ddrnet23_slim', '-i', path, '-o', target, *options) == 2
    assert message in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ['a.pth']


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ([], 'pass either -o'),
        (['-o', 'a.h5', '--to-pytorch', 'a.npz'], 'pass either -o'),
        (['-o', 'a.pth'], 'must end in .h5'),
        (['--to-pytorch', 'a.pth'], 'must end in .npz or .safetensors'),
        (['--to-pytorch', 'a.npz', '--check'], 'takes one input file'),
        (['-o', 'a.h5', '--num-classes', '0'], 'num_classes'),
        (['-o', 'a.h5', '-i', 'none.pth'], 'none.pth: no such file'),
        (['-o', 'a.h5', '-i', 'best_val.pth'], 'get it from https://drive'),
    ],
)
def test_mistakes(checkpoint_file, working_folder, capsys, options, message):
    assert convert('--network', 'ddrnet23_slim', '-i', checkpoint_file, *options) == 2
    assert message in capsys.readouterr().err
    assert [p.name for p in working_folder.iterdir()] == ['a.pth']


def test_a_full_disk_leaves_nothing(checkpoint_file, tmp_path, capsys):
    options = '--network', 'ddrnet23_slim', '-i', checkpoint_file, '-o', tmp_path / 'a.h5'
    with programs.full_disk(5000):
        assert convert(*options) == 2
    assert 'a.h5: cannot be written' in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ['a.pth']


def test_weights_of_another_network_do_not_go_back(checkpoint_file, tmp_path, capsys):
    target = tmp_path / 'a.h5'
    assert convert('--network', 'ddrnet23_slim', '-i', checkpoint_file, '-o', target) == 0
    for network in ('ddrnet23', 'ddrnet23_slim_aux'):
        options = '--network', network, '-i', target, '--to-pytorch', tmp_path / 'a.npz'
        assert convert(*options) == 2
        assert 'does not fit the network' in capsys.readouterr().err
    assert not (tmp_path / 'a.npz').exists()


def test_parameters_of_the_caller_are_left_alone(checkpoint_file, tmp_path):
    nn.parameter.get_parameter_or_create('conv1/0/conv/W', (1, 2), need_grad=True)
    options = '--network', 'ddrnet23_slim', '-i', checkpoint_file, '-o', tmp_path / 'a.h5'
    assert convert(*options, '--check') == 0
    assert {n: p.shape for n, p in nn.get_parameters().items()} == {'conv1/0/conv/W': (1, 2)}


def test_what_cannot_be_written_is_known_before(checkpoint_file, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(checkpoints, 'read', lambda path: pytest.fail('read for nothing'))
    options = '--network', 'ddrnet23_slim', '-i', checkpoint_file
    assert convert(*options, '-o', checkpoint_file / 'a.h5') == 2
    assert 'cannot be written' in capsys.readouterr().err


def test_a_published_checkpoint_is_downloaded_by_name(small, working_folder, monkeypatch, capsys):
    entry = models.Published('slim.pth', 'ddrnet23_slim', 'nothing', ('http://no/',))
    monkeypatch.setattr(published, 'files', lambda: [entry])
    checkpoint = Checkpoint()
    path = checkpoint.save(working_folder / 'a.pth', checkpoint.state(small), legacy=True)
    server = Server(path.read_bytes())
    monkeypatch.setenv(weights.MIRROR_VARIABLE, server.url)
    monkeypatch.setenv(files.CACHE_VARIABLE, str(working_folder / 'cache'))
    options = '--network', 'ddrnet23_slim', '-i', 'slim.pth', '-o', 'a.h5'
    server.content, content = b'<html>not here</html>', server.content
    assert convert(*options) == 2
    assert 'sent something that is not a checkpoint of PyTorch' in capsys.readouterr().err
    server.content = content
    for _ in range(2):
        assert convert(*options) == 0
    assert len(server.ranges) == 2
    assert_same('a.h5', models.convert.from_pytorch('ddrnet23_slim', small))
    server.shutdown()
