"""python -m models.convert from file to file: results, printed lines, and mistakes of users."""

import nnabla as nn
import numpy as np
import pytest

import models
from common import files
from models import weights
from models.convert import checkpoints, matching
from models.weights import published
from support import conversions, programs, stand_ins
from support.checkpoint_writer import Call, Checkpoint, Global
from support.conversions import SMALLEST, convert
from support.download_server import DownloadServer

LAST_WEIGHT = 'decoders.0.pred.1.0.weight'  # of SMALLEST, (19, 128, 1, 1)


def write_ddrnet(checkpoint, state, folder):
    """Write a checkpoint like HRNet's trainer: network and loss in one module, before 1.6."""
    tree = checkpoint.state(state, 'model.') | {
        'loss.criterion.weight': checkpoint.tensor(np.ones(19))
    }
    return [checkpoint.save(folder / 'best_val.pth', tree, legacy=True)]


def write_csail(checkpoint, state, folder):
    """Write one file for the encoder and one for the decoder, with CSAIL's counters."""
    paths = []
    for half in ('encoder', 'decoder'):
        one = Checkpoint()
        arrays = {n.removeprefix(f'{half}.'): a for n, a in state.items() if n.startswith(half)}
        paths.append(one.save(folder / f'{half}_epoch_20.pth', one.state(arrays), legacy=True))
    return paths


def write_mmseg(checkpoint, state, folder):
    """Write a checkpoint like OpenMMLab's runner."""
    tree = {'meta': {'epoch': 3}, 'state_dict': checkpoint.state(state), 'optimizer': {}}
    return [checkpoint.save(folder / 'latest.pth', tree)]


def write_ti(checkpoint, state, folder):
    """Write a checkpoint like TI's trainer on several GPUs."""
    namespace = Call(Global('argparse', 'Namespace'), (), {'epochs': 3}, new=True)
    tree = {'args': namespace, 'state_dict': checkpoint.state(state, 'module.'), 'epoch': 3}
    return [checkpoint.save(folder / 'model_best.pth', tree)]


def seeded_state(shared, name):
    """Return a reference's state: seeded parameters, and its counters."""
    meta = conversions.reference(shared, name)
    values = dict(stand_ins.seeded_weights(shared).seeded_state(meta))
    return {n: values.get(n, np.zeros(shape)) for n, shape, _ in meta['state']}


def larger(*values):
    """Return a case for `make test-all`; a smaller network stands for it in `make test`."""
    return pytest.param(*values, marks=pytest.mark.whole_registry)


@pytest.mark.parametrize(
    ('name', 'write'),
    [
        ('ddrnet23_slim_aux', write_ddrnet),
        ('csail_resnet18dilated8_c1_deepsup', write_csail),
        ('dabnet_r18_p2', write_mmseg),
        ('fpn_aspp_mobilenetv2_tv_edgeailite', write_ti),
        larger('ddrnet23_slim', write_ddrnet),
        larger('fpn_aspp_regnetx400mf_edgeailite', write_ti),
    ],
)
def test_a_trainers_checkpoint_is_converted_exactly(shared, tmp_path, capsys, name, write):
    state = seeded_state(shared, name)
    paths = write(Checkpoint(), state, tmp_path)
    inputs = [option for path in paths for option in ('-i', path)]
    target = tmp_path / 'out.h5'
    assert convert('--network', name, *inputs, '-o', target) == 0, capsys.readouterr().err
    expected = models.convert.from_pytorch(name, state)
    conversions.assert_holds(target, expected)
    printed = capsys.readouterr().out
    assert all(path.name in printed for path in paths)
    assert f'{target}: {len(expected)} arrays of {name}' in printed
    ignored = len(state) - len(expected) + ('ddrnet' in name)
    assert f'and arrays of a loss ({ignored})' in printed


@pytest.fixture(scope='module')
def small():
    """The seeded parameters of the smallest network, by the reference's names."""
    return conversions.seeded(matching.network_shapes(SMALLEST))


@pytest.fixture(scope='module')
def small_file(small, tmp_path_factory):
    """A checkpoint of ``small``."""
    return conversions.save(tmp_path_factory.mktemp('small') / 'a.pth', small)


@pytest.fixture(scope='module')
def small_weights(small_file, tmp_path_factory):
    """The weights that ``small_file`` converts to."""
    target = tmp_path_factory.mktemp('small_weights') / 'a.h5'
    assert convert('--network', SMALLEST, '-i', small_file, '-o', target) == 0
    return target


def assert_converts_back(name, path, folder):
    """Assert that weights converted to PyTorch and back are the same bytes."""
    back, again = folder / 'back.safetensors', folder / 'again.h5'
    assert convert('--network', name, '-i', path, '--to-pytorch', back) == 0
    assert convert('--network', name, '-i', back, '-o', again) == 0
    assert again.read_bytes() == path.read_bytes()


def test_weights_are_converted_to_pytorch_and_back(small_weights, tmp_path):
    assert_converts_back(SMALLEST, small_weights, tmp_path)


@pytest.mark.whole_registry
@pytest.mark.parametrize(
    'name',
    [
        'ddrnet23_slim_aux',
        'csail_resnet18dilated8_c1_deepsup',
        'dabnet_r18_p2',
        'fpn_aspp_mobilenetv2_tv_edgeailite',
        'ddrnet23_slim',
        'fpn_aspp_regnetx400mf_edgeailite',
    ],
)
def test_weights_of_each_family_are_converted_to_pytorch_and_back(name, tmp_path):
    arrays = conversions.seeded(matching.network_shapes(name))
    source, target = conversions.save(tmp_path / 'a.pth', arrays), tmp_path / 'out.h5'
    assert convert('--network', name, '-i', source, '-o', target) == 0
    assert_converts_back(name, target, tmp_path)


def test_the_command_in_a_process_of_its_own(small, small_file, tmp_path):
    process = programs.run(
        '-m', 'models.convert', '--network', SMALLEST, '-i', small_file,
        '-o', tmp_path / 'new' / 'a.h5', '--check', cwd=programs.PROJECT,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert 'Warning' not in process.stderr
    expected = models.convert.from_pytorch(SMALLEST, small)
    conversions.assert_holds(tmp_path / 'new' / 'a.h5', expected)
    assert 'street.jpg, 128x' in process.stdout
    assert 'logits from ' in process.stdout
    assert 'predicted classes: ' in process.stdout


@pytest.mark.parametrize(
    ('value', 'element', 'options', 'message'),
    [
        (np.nan, 'float32', [], f'{LAST_WEIGHT} has NaN'),
        (1e300, 'float64', [], f'{LAST_WEIGHT} has infinity'),
        (3e38, 'float32', ['--check'], 'the logits are not finite'),
    ],
)
def test_numbers_that_cannot_be_weights(small, tmp_path, capsys, value, element, options, message):
    checkpoint = Checkpoint()
    tree = checkpoint.state(small)
    tree[LAST_WEIGHT] = checkpoint.tensor(np.full((19, 128, 1, 1), value), element)
    path = checkpoint.save(tmp_path / 'a.pth', tree)
    target = tmp_path / 'a.h5'
    assert convert('--network', SMALLEST, '-i', path, '-o', target, *options) == 2
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
        (['-o', 'a.h5', '--network', 'd3net_s'], 'no PyTorch original'),
        (['-o', 'a.h5', '--num-classes', '0'], 'num_classes'),
        (['-o', 'a.h5', '-i', 'none.pth'], 'none.pth: no such file'),
        (['-o', 'a.h5', '-i', 'best_val.pth'], 'get it from https://drive'),
    ],
)
def test_mistakes_end_with_one_line_and_no_output(
    small_file, working_folder, capsys, options, message
):
    assert convert('--network', SMALLEST, '-i', small_file, *options) == 2
    assert message in capsys.readouterr().err
    assert not list(working_folder.iterdir())


def test_a_full_disk_leaves_no_file(small_file, tmp_path, capsys):
    options = '--network', SMALLEST, '-i', small_file, '-o', tmp_path / 'a.h5'
    with programs.full_disk(5000):
        assert convert(*options) == 2
    assert 'a.h5: cannot be written' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures('few_networks')
def test_weights_of_another_network_are_not_written_as_pytorch(small_weights, tmp_path, capsys):
    for network in ('ddrnet23_slim', 'unet_aspp_mobilenetv2_tv_edgeailite'):
        options = '--network', network, '-i', small_weights, '--to-pytorch', tmp_path / 'a.npz'
        assert convert(*options) == 2
        assert 'does not fit the network' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_callers_parameters_stay_unchanged(small_file, tmp_path):
    name = 'encoder/features/0/0/conv/W'
    nn.parameter.get_parameter_or_create(name, (1, 2), need_grad=True)
    options = '--network', SMALLEST, '-i', small_file, '-o', tmp_path / 'a.h5'
    assert convert(*options, '--check') == 0
    assert {n: p.shape for n, p in nn.get_parameters().items()} == {name: (1, 2)}


def test_an_unwritable_output_is_reported_before_reading(small_file, capsys, monkeypatch):
    monkeypatch.setattr(checkpoints, 'read', lambda path: pytest.fail('the input was read'))
    options = '--network', SMALLEST, '-i', small_file
    assert convert(*options, '-o', small_file / 'a.h5') == 2
    assert 'cannot be written' in capsys.readouterr().err


def test_a_published_checkpoint_is_downloaded_once_by_name(
    small, small_file, working_folder, monkeypatch, capsys
):
    entry = models.Published('small.pth', SMALLEST, 'nothing', ('http://no/',))
    monkeypatch.setattr(published, 'files', lambda: [entry])
    server = DownloadServer(b'<html>not here</html>')
    monkeypatch.setenv(weights.MIRROR_VARIABLE, server.url)
    monkeypatch.setenv(files.CACHE_VARIABLE, str(working_folder / 'cache'))
    options = '--network', SMALLEST, '-i', 'small.pth', '-o', 'a.h5'
    assert convert(*options) == 2
    assert 'sent something that is not a checkpoint of PyTorch' in capsys.readouterr().err
    server.content = small_file.read_bytes()
    assert convert(*options, '--verbose') == 0
    assert len(capsys.readouterr().out.splitlines()) > len(small)
    assert weights.find('small.pth').read_bytes() == server.content
    assert len(server.ranges) == 2
    conversions.assert_holds('a.h5', models.convert.from_pytorch(SMALLEST, small))
    server.shutdown()
