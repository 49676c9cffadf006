"""A user's own network works as the networks of the project do."""

import sys
from dataclasses import replace

import nnabla as nn
import numpy as np
import pytest

import models
from common import files
from common.command import run_command
from common.errors import UserError
from engine import config
from engine.config import reference
from models import __main__ as listing
from models import registry, weights
from models.convert import __main__ as convert
from models.weights import lookup, published
from support import programs, stand_ins
from support.checkpoint_writer import Checkpoint
from support.download_server import DownloadServer

FILE = programs.PROJECT / 'tests' / 'support' / 'own_network.py'


@pytest.fixture
def own(monkeypatch):
    """The user's family, imported by a command's --import and unregistered after the test."""
    families, statistics = dict(registry._families), dict(registry._statistics)
    monkeypatch.setattr(sys, 'path', [*sys.path])
    assert run_command(listing.build_parser, listing.main, ['--import', str(FILE), '--names']) == 0
    yield models.family_of('own_net')
    del sys.modules[FILE.stem]
    for table, before in ((registry._families, families), (registry._statistics, statistics)):
        table.clear()
        table.update(before)


def test_an_unregistered_network_is_unknown():
    with pytest.raises(models.ModelError, match="no network is called 'own_net'"):
        models.create('own_net')


def test_it_is_created_described_and_listed(own, capsys):
    assert [family for family in models.FAMILIES if family.name == 'own'] == [own]
    assert {'own_net', 'own_net_skip'} <= set(models.names())
    network = models.create('own_net', widths=[4, 7])
    assert network(nn.Variable((1, 3, 8, 12)))[0].shape == (1, 5, 2, 3)
    assert nn.get_parameters()['encoder/1/conv/conv/W'].shape == (7, 4, 3, 3)
    assert models.describe('own_net', num_classes=3) == replace(network.info, num_classes=3)
    assert (network.info.channel_order, network.info.mean[0]) == ('bgr', 123.675)
    assert run_command(listing.build_parser, listing.main, ['own_net']) == 0
    row = capsys.readouterr().out.splitlines()[-1].split()
    convolutions, batch_norms, classifier = 3 * 9 * 6 + 6 * 9 * 8, 2 * (6 + 8), 8 * 5 + 5
    assert row[:3] == ['own_net', '5', str(convolutions + batch_norms + classifier)]


@pytest.mark.parametrize(
    'name, changes, message',
    [
        ('own_net', {'widths': [4, 0]}, 'widths: must be at least 1'),
        ('own_net', {'skip': 1}, 'skip: must be true or false'),
        ('own_net', {'skip': True}, 'skip: the last two layers must have the same width'),
        ('own_net', {'width': 3}, 'width: own_net has no such.*did you mean widths'),
    ],
)
def test_its_hyper_parameters_are_checked(own, name, changes, message):
    with pytest.raises(models.HyperParameterError, match=message) as caught:
        models.create(name, **changes)
    assert caught.value.key == next(iter(changes))


def test_a_config_sets_its_hyper_parameters(own, tmp_path):
    path = tmp_path / 'own.yaml'
    path.write_text('network: own_net_skip\nwidths: [3, 4, 4]\nnum_classes: 7\nmean: [1, 2, 3]\n')
    loaded = config.load(path)
    network = models.create(loaded)
    assert network.hyper == {'widths': (3, 4, 4), 'skip': True, 'num_classes': 7}
    assert network.info.mean == (1, 2, 3)
    with pytest.raises(UserError, match='widths: must be at least 1.*--set'):
        config.load(path, ['widths=[3, 0, 4]'])
    assert 'Hyper-parameters: own' in reference.as_text()


def test_its_weights_are_saved_and_loaded(own, tmp_path):
    image = np.random.RandomState(0).randn(1, 3, 8, 12).astype(np.float32)
    network, x = models.create('own_net'), nn.Variable.from_numpy_array(image)
    expected = network(x)[0]
    stand_ins.randomize_parameters()
    expected.forward()
    weights.save(tmp_path / 'a.h5', network.info)
    nn.clear_parameters()
    found = network(x)[0]
    weights.load(tmp_path / 'a.h5')
    found.forward()
    assert np.array_equal(found.d, expected.d)
    assert weights.input_statistics(tmp_path / 'a.h5')['channel_order'] == 'bgr'


def test_its_published_file_is_found_by_name(own, tmp_path, monkeypatch, capsys):
    models.create('own_net')(nn.Variable((1, 3, 8, 8)))
    weights.save(tmp_path / 'made.h5')
    server = DownloadServer((tmp_path / 'made.h5').read_bytes())
    monkeypatch.setenv(weights.MIRROR_VARIABLE, server.url)
    monkeypatch.setenv(files.CACHE_VARIABLE, str(tmp_path / 'cache'))
    monkeypatch.setattr(lookup, 'PROJECT', tmp_path)
    monkeypatch.chdir(tmp_path)
    path = weights.find('Own_Net.h5')
    assert path == tmp_path / 'cache' / 'Own-Net.h5'
    assert not weights.load(path).missing
    server.shutdown()
    server.server_close()
    assert published.networks_of(published.entry_of(path)) == ['own_net']
    (tmp_path / 'made.h5').unlink()
    with pytest.raises(models.ModelError, match='published files are .*Own-Net.h5'):
        weights.find('other.h5')
    assert run_command(listing.build_parser, listing.main, ['--weights', 'own_net']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == 'Own-Net.h5: own_net; street scenes; https://example.org/'


def test_checkpoints_of_its_original_are_converted(own, tmp_path, capsys):
    """Names are renamed from another implementation; the file name selects the statistics."""
    network = models.create('own_net')
    network(nn.Variable((1, 3, 8, 8)))
    stand_ins.randomize_parameters()
    own_arrays = {name: p.d.copy() for name, p in nn.get_parameters(grad_only=False).items()}
    state = models.convert.to_pytorch('own_net', own_arrays)
    foreign = {name.replace('encoder.', 'layer', 1): array for name, array in state.items()}
    assert 'layer0.conv.weight' in foreign
    checkpoint = Checkpoint()
    checkpoint.save(tmp_path / 'grey-1.pth', checkpoint.state(foreign))
    target = tmp_path / 'a.h5'
    options = ['--network', 'own_net', '-i', tmp_path / 'grey-1.pth', '-o', target]
    assert run_command(convert.build_parser, convert.main, list(map(str, options))) == 0
    arrays = weights.read(target)
    assert arrays.keys() == own_arrays.keys()
    assert all(np.array_equal(arrays[name], own_arrays[name]) for name in arrays)
    assert weights.input_statistics(target)['mean'] == (128, 128, 128)
    halves = {name: array for name, array in state.items() if name.startswith('encoder.')}
    checkpoint = Checkpoint()
    checkpoint.save(tmp_path / 'encoder.pth', checkpoint.state(halves))
    options = ['--network', 'own_net', '-i', tmp_path / 'encoder.pth', '-o', target]
    assert run_command(convert.build_parser, convert.main, list(map(str, options))) == 0
    assert 'Only the encoder is converted' in capsys.readouterr().out


@pytest.mark.parametrize(
    'changes, message',
    [
        ({}, 'a family called own is registered already, by the family own'),
        ({'name': 'b'}, 'a network called own_net is registered already, by the family own'),
        (
            {'name': 'b', 'variants': {'b': {}}},
            'a published file called Own-Net.h5 is registered already, by the family own',
        ),
        (
            {'name': 'b', 'variants': {'b': {}}, 'published': ()},
            'a kind of input called own_grey is registered already, by the family own',
        ),
        ({'name': 'b', 'variants': {'ddrnet39': {}}}, 'ddrnet39 is .*by the family ddrnet'),
    ],
)
def test_a_taken_name_is_refused(own, changes, message):
    before = models.names()
    with pytest.raises(models.ModelError, match=f'^.*{message}$'):
        models.register(replace(own, **changes))
    assert models.names() == before


def test_an_import_that_registers_taken_names_gives_one_line(own, tmp_path, capsys):
    second = tmp_path / 'second_network.py'
    second.write_text(FILE.read_text())
    assert (
        run_command(listing.build_parser, listing.main, ['--import', str(second), '--names']) == 2
    )
    assert capsys.readouterr().err == (
        'error: a family called own is registered already, by the family own\n'
    )
