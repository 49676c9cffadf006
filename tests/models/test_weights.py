"""Weights: strict loading that changes nothing unless all fits, and finding files."""

import os

import h5py
import nnabla as nn
import numpy as np
import pytest

import models
from common import files
from common.errors import UserError
from models import weights
from models.convert import matching
from models.weights import lookup, published
from support import programs, stand_ins


@pytest.fixture
def network():
    """A tiny network with seeded parameters."""
    network = stand_ins.tiny()
    network(nn.Variable((1, 3, 32, 32)))
    stand_ins.randomize_parameters()
    return network


def state():
    return {n: p.d.copy() for n, p in nn.get_parameters(grad_only=False).items()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert np.array_equal(one[name], other[name]), name


def refused(source, message, **options):
    """``source`` is refused with ``message``, in one line, and no parameter has changed."""
    before = state()
    with pytest.raises(models.ModelError, match=message) as caught:
        weights.load(source, **options)
    assert '\n' not in str(caught.value)
    assert_same(state(), before)


def test_what_is_saved_loads_into_a_live_graph(network, tmp_path):
    x = nn.Variable.from_numpy_array(np.ones((1, 3, 32, 32), np.float32))
    y = network(x)[0]
    y.forward()
    expected, saved = y.d.copy(), state()
    weights.save(tmp_path / 'a.h5')
    stand_ins.randomize_parameters(seed=1)
    y.forward()
    assert not np.array_equal(y.d, expected)
    report = weights.load(tmp_path / 'a.h5')
    assert (len(report.loaded), report.missing, report.extra) == (len(saved), [], [])
    assert_same(state(), saved)
    y.forward()
    assert np.array_equal(y.d, expected)


def test_a_file_written_by_nnabla_itself_loads(network, tmp_path):
    saved = state()
    nn.save_parameters(str(tmp_path / 'a.h5'))
    stand_ins.randomize_parameters(seed=1)
    weights.load(tmp_path / 'a.h5')
    assert_same(state(), saved)


def test_a_full_disk_leaves_the_old_file_whole(network, tmp_path):
    weights.save(tmp_path / 'a.h5')
    before = (tmp_path / 'a.h5').read_bytes()
    with programs.full_disk(5000), pytest.raises(UserError, match='a.h5: cannot be written'):
        weights.save(tmp_path / 'a.h5')
    assert (tmp_path / 'a.h5').read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ['a.h5']


def test_float64_arrays_do_not_change_the_type_of_parameters(network):
    weights.load({name: array.astype(np.float64) for name, array in state().items()})
    assert {p.d.dtype for p in nn.get_parameters(grad_only=False).values()} == {np.dtype('f4')}


def test_missing_extra_and_misshapen_parameters_are_listed(network):
    arrays = state()
    del arrays['backbone/conv1/conv/W']
    arrays['backbone/conv9/conv/W'] = np.zeros(3)
    arrays['decode_head/conv_seg/conv/W'] = np.zeros((5, 11, 1, 1))
    refused(
        arrays,
        '1 missing: backbone/conv1/conv/W; 1 unknown: backbone/conv9/conv/W; '
        r'1 with another shape: decode_head/conv_seg/conv/W \(5x11x1x1 instead of 5x10x1x1\)',
    )


def test_another_class_number_is_recognised(network):
    arrays = state()
    arrays['decode_head/conv_seg/conv/W'] = np.zeros((19, 10, 1, 1))
    arrays['decode_head/conv_seg/conv/b'] = np.zeros(19)
    refused(arrays, 'it has 19 classes and the network has 5')
    refused(arrays, 'it has 19 classes and the network has 5', strict=False)


def test_a_backbone_without_its_prefix_loads_partially(network, tmp_path):
    saved = state()
    with nn.parameter_scope('backbone'):
        nn.save_parameters(str(tmp_path / 'backbone.h5'))
    stand_ins.randomize_parameters(seed=1)
    refused(tmp_path / 'backbone.h5', 'the backbone alone.*--partial')
    head = {n: a for n, a in state().items() if n.startswith('decode_head/')}
    report = weights.load(tmp_path / 'backbone.h5', strict=False)
    assert report.missing == list(head)
    assert report.extra == []
    assert_same(state(), {n: head.get(n, a) for n, a in saved.items()})


def saved_as(path, arrays):
    """A file with these arrays, as NNabla writes it."""
    with h5py.File(path, 'w') as file:
        for number, (name, array) in enumerate(arrays.items()):
            file[name] = array
            file[name].attrs.update({'need_grad': True, 'index': number})
    return path


def test_a_training_starts_from_all_that_fits(network, tmp_path):
    """A whole network, or a backbone whose names lack the prefix."""
    saved = state()
    backbone = {n.removeprefix('backbone/'): a for n, a in saved.items() if n[:9] == 'backbone/'}
    for arrays in (saved, backbone):
        path = saved_as(tmp_path / 'arrays.h5', arrays)
        stand_ins.randomize_parameters(seed=1)
        head = {n: a for n, a in state().items() if n[:9] != 'backbone/' and arrays is backbone}
        report = weights.initialise(path, 5)
        assert report.missing == list(head)
        assert report.extra == []
        assert_same(state(), saved | head)


def test_a_training_starts_without_the_layer_of_other_classes(network, tmp_path):
    """Weights and biases of the head alone stay as they are, and it is reported."""
    arrays = {name: array + 1 for name, array in state().items()}
    head = ['decode_head/conv_seg/conv/W', 'decode_head/conv_seg/conv/b']
    arrays[head[0]], arrays[head[1]] = np.zeros((19, 10, 1, 1)), np.zeros(19)
    before = state()
    report = weights.initialise(saved_as(tmp_path / 'nineteen.h5', arrays), 5)
    assert report.missing == head
    assert report.extra == []
    assert_same(state(), arrays | {name: before[name] for name in head})


def test_a_training_does_not_start_from_what_does_not_fit(network, tmp_path):
    """Other widths are no other classes; all or nothing, and the file is named."""
    before = state()
    narrow, of_other_width = dict(before), dict(before)
    narrow['backbone/conv1/conv/W'] = np.zeros((6, 3, 3, 3))
    narrow['backbone/bn1/bn/gamma'] = np.zeros((1, 6, 1, 1))
    of_other_width['decode_head/conv_seg/conv/W'] = np.zeros((19, 12, 1, 1))
    foreign = {'fc/W': np.zeros((3, 4))}
    for arrays, message in (
        (narrow, r'backbone/conv1/conv/W \(6x3x3x3 instead of 8x3x3x3\)'),
        (of_other_width, r'decode_head/conv_seg/conv/W \(19x12x1x1 instead of 5x10x1x1\)'),
        (foreign, 'no name in it is in the network'),
    ):
        path = saved_as(tmp_path / 'arrays.h5', arrays)
        with pytest.raises(models.ModelError, match=message) as caught:
            weights.initialise(path, 5)
        assert str(caught.value).startswith(f'{path} does not fit the network, nothing was loaded')
        assert_same(state(), before)


def test_a_file_of_something_else_is_refused_even_partially(network):
    refused({'fc/W': np.zeros(3)}, 'no name in it is in the network.*fc/W', strict=False)


def test_loading_before_building_says_so():
    with pytest.raises(models.ModelError, match='build its graph first'):
        weights.load({'a/W': np.zeros(3)})


def test_truncated_empty_and_foreign_files(network, tmp_path):
    weights.save(tmp_path / 'whole.h5')
    data = (tmp_path / 'whole.h5').read_bytes()
    for name, content in (('cut', data[: len(data) // 2]), ('empty', b''), ('text', b'hello' * 99)):
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, f'{name} is truncated or not an NNabla .h5 file')
    refused(tmp_path / 'none.h5', 'no such file of weights')


def test_damage_inside_a_file_changes_nothing(network, tmp_path):
    """A group that can be listed but not read."""
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        for name, array in state().items():
            file.create_dataset(name, data=array, chunks=array.shape, fletcher32=True)
        offset = file['decode_head/conv_seg/conv/W'].id.get_chunk_info(0).byte_offset
    with open(tmp_path / 'a.h5', 'r+b') as file:
        file.seek(offset)
        file.write(b'\xff' * 16)
    refused(tmp_path / 'a.h5', 'truncated or not an NNabla .h5 file')


def damaged(content, rng):
    """``content`` with one byte or a range of bytes changed."""
    content = bytearray(content)
    start, length = rng.randint(len(content)), rng.choice([1, 1, 8, 200])
    content[start : start + length] = rng.bytes(len(content[start : start + length]))
    return content


def test_any_damage_is_refused_or_harmless(tmp_path):
    """HDF5 has no checksums here, so a changed number loads; a changed structure is refused."""
    shapes = {f'block{i}/conv/W': (3, 4, 3, 3) for i in range(4)}
    for name, shape in shapes.items():
        nn.parameter.get_parameter_or_create(name, shape, need_grad=True)
    stand_ins.randomize_parameters()
    weights.save(tmp_path / 'a.h5')
    content, rng = (tmp_path / 'a.h5').read_bytes(), np.random.RandomState(0)
    outcomes = {}
    for _ in range(300):
        stand_ins.randomize_parameters(seed=1)
        before = state()
        (tmp_path / 'b.h5').write_bytes(damaged(content, rng))
        try:
            weights.load(tmp_path / 'b.h5')
            outcome = 'loaded'
        except models.ModelError as error:
            assert '\n' not in str(error)
            assert_same(state(), before)
            outcome = type(error.__cause__).__name__
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    assert {'loaded', 'OSError', 'RuntimeError', 'KeyError'} <= outcomes.keys(), outcomes


def test_a_file_of_text_is_refused(network, tmp_path):
    for content in ('text', h5py.Empty('f4')):
        with h5py.File(tmp_path / 'a.h5', 'w') as file:
            for name in state():
                file[name] = content
        refused(tmp_path / 'a.h5', r'not an NNabla .h5 file \(.* is not numeric\)')


def forbid(monkeypatch, forbidden):
    """No path below ``forbidden`` may be asked for, as in a closed folder."""
    real = os.stat

    def stat(path, *args, **options):
        if str(path).startswith(str(forbidden)):
            raise PermissionError(13, 'Permission denied', str(path))
        return real(path, *args, **options)

    monkeypatch.setattr(os, 'stat', stat)


def test_paths_that_cannot_be_asked_are_told_in_one_line(tmp_path, monkeypatch):
    long = tmp_path / f'{"x" * 300}.h5'
    for use in (weights.find, weights.load, weights.read):
        with pytest.raises(models.ModelError, match=f'^{long}: cannot be read .*too long'):
            use(long)
        with pytest.raises(models.ModelError, match='a folder, not a file'):
            use(tmp_path)
    for name in ('D3Net-S.h5', 'mine.h5'):
        with pytest.raises(models.ModelError, match='cannot be read .*too long'):
            weights.find(tmp_path / ('x' * 300) / name)
    forbid(monkeypatch, tmp_path / 'closed')
    path = tmp_path / 'closed' / 'D3Net-S.h5'
    for use in (weights.find, weights.load, weights.read):
        with pytest.raises(models.ModelError, match=rf'^{path}: cannot be read \(Permission den'):
            use(path)


def test_a_file_without_permission_is_not_called_damaged(tmp_path, monkeypatch):
    def refuse(path, mode):
        raise PermissionError(13, 'Unable to open file (name = a)')

    (tmp_path / 'a.h5').touch()
    monkeypatch.setattr(h5py, 'File', refuse)
    with pytest.raises(models.ModelError, match=r'a.h5: cannot be read \(Permission denied\)$'):
        weights.read(tmp_path / 'a.h5')


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Empty folders where a published file is looked for: here, project, cache."""
    folders = {name: tmp_path / name for name in ('here', 'project', 'cache')}
    for folder in folders.values():
        folder.mkdir()
    monkeypatch.chdir(folders['here'])
    monkeypatch.setattr(lookup, 'PROJECT', folders['project'])
    monkeypatch.setenv(files.CACHE_VARIABLE, str(folders['cache']))
    monkeypatch.setenv(weights.MIRROR_VARIABLE, 'http://127.0.0.1:9/')
    return folders


@pytest.mark.parametrize('spelling', ['D3Net-L.h5', 'D3Net_L.h5'])
@pytest.mark.parametrize('asked', ['D3Net-L.h5', 'D3Net_L.h5'])
@pytest.mark.parametrize('place', ['here', 'project', 'cache'])
def test_every_place_is_searched_for_both_spellings(places, place, spelling, asked, caplog):
    there = places[place] / spelling
    there.touch()
    caplog.set_level('INFO', 'nnseg')
    assert weights.find(asked).resolve() == there
    is_told = [f'{asked}: using the weights in ' in r.message for r in caplog.records]
    assert is_told == ([] if place == 'here' and spelling == asked else [True])
    assert weights.find(places['here'] / asked) == there


def test_the_project_goes_before_the_cache(places):
    for place in ('cache', 'project', 'here'):
        there = places[place] / 'D3Net-S.h5'
        there.touch()
        assert weights.find('D3Net-S.h5').resolve() == there


def test_a_folder_that_does_not_exist_is_a_mistake(places):
    """Not a licence to use another file."""
    for place in places.values():
        (place / 'D3Net-S.h5').touch()
    for name in ('D3Net-S.h5', 'mine.h5'):
        for folder in ('/no/such/folder', 'relative', 'D3Net-S.h5', '~no_such_user'):
            with pytest.raises(models.ModelError, match=f'{folder}.*(there is no|home) folder'):
                weights.find(f'{folder}/{name}')


def test_a_closed_cache_folder_says_how_to_name_another(places, monkeypatch):
    forbid(monkeypatch, places['cache'])
    with pytest.raises(models.ModelError, match='cannot be read .*; set another.*NNSEG_CACHE'):
        weights.find('D3Net-S.h5')


def test_the_cache_folder_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
    monkeypatch.delenv(files.CACHE_VARIABLE, raising=False)
    assert files.cache_folder() == tmp_path / 'home' / '.cache' / 'nnseg'
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'xdg'))
    assert files.cache_folder() == tmp_path / 'xdg' / 'nnseg'
    monkeypatch.setenv(files.CACHE_VARIABLE, '~/own')
    assert files.cache_folder() == tmp_path / 'home' / 'own'
    monkeypatch.setenv(files.CACHE_VARIABLE, '~no_such_user/own')
    with pytest.raises(UserError, match='no home folder.*NNSEG_CACHE'):
        files.cache_folder()


def test_an_unknown_file_names_the_published_ones(tmp_path):
    with pytest.raises(models.ModelError, match='mine.h5: no such file.*D3Net-L.h5, D3Net-S.h5'):
        weights.find(tmp_path / 'mine.h5')
    with pytest.raises(models.ModelError, match='a folder, not a file'):
        weights.find(tmp_path)


def test_the_table_has_all_published_files_of_d3net():
    own = models.family_of('d3net').published
    assert {p.file for p in own} == {
        'D3Net-L.h5',
        'D3Net-S.h5',
        'D3Net-L-pretrained-backbone.h5',
        'D3Net-S-pretrained-backbone.h5',
    }
    assert all(p.mirrors for p in own)


def test_the_tables_of_published_files_are_sound():
    names = [p.file for p in published.files()]
    assert len(set(names)) == len(names)
    for entry in published.files():
        assert bool(entry.mirrors) != bool(entry.page), entry.file
        addresses = entry.mirrors or (entry.page,)
        assert all(a.startswith(('http://', 'https://')) for a in addresses)
        assert published.networks_of(entry) or entry.obstacle, entry.file
        assert not entry.halves or entry.file.split('/')[-1] in entry.halves


def test_a_published_checkpoint_is_found_in_its_folder(places):
    name = 'ade20k-resnet50-upernet/encoder_epoch_30.pth'
    there = places['cache'] / name
    there.parent.mkdir()
    there.touch()
    assert weights.find(name) == there
    with pytest.raises(models.ModelError, match='encoder_epoch_30.pth: no such file'):
        weights.find('encoder_epoch_30.pth')


def test_what_only_a_browser_gets_says_where(places):
    with pytest.raises(models.ModelError, match='without a browser; get it from https://drive.goo'):
        weights.find('best_val_smaller.pth')


def test_a_missing_checkpoint_names_the_nearest_published(places):
    with pytest.raises(models.ModelError, match='no such file.* such as resnet18-imagenet.pth'):
        weights.find('resnet18-imagenets.pth')


@pytest.mark.parametrize(
    'file, changes, network, message',
    [
        ('ddrnet23_slim_aux', {}, 'dabnet_e', r'it is of ddrnet23_slim_aux \(does the config'),
        ('ddrnet23_slim', {}, 'ddrnet23', 'it is of ddrnet23_slim '),
        ('ddrnet23', {'num_classes': 7}, 'ddrnet23_aux', 'it is of ddrnet23 with 7 classes '),
        ('d3net_s', {}, 'ddrnet23_slim', 'it is of d3net_s '),
        (
            'fpn_aspp_regnetx400mf_edgeailite',
            {},
            'unet_aspp_regnetx800mf_edgeailite',
            'it is of fpn_aspp_regnetx400mf_edgeailite or fpn_aspp_regnetx400mf_fd_edgeailite or ',
        ),
    ],
)
def test_weights_of_another_network_are_named(tmp_path, file, changes, network, message):
    for name, options in ((file, changes), (network, {})):
        nn.clear_parameters()
        matching.register(models.create(name, **options))
        if name == file:
            for parameter in nn.get_parameters(grad_only=False).values():
                parameter.data.zero()
            weights.save(tmp_path / 'a.h5')
    with pytest.raises(models.ModelError, match=f'nothing was loaded: {message}'):
        weights.load(tmp_path / 'a.h5')


def test_a_checkpoint_says_how_to_convert_it(network, tmp_path):
    for name, of in (('mine.pth', 'NAME'), ('best_val.pth', 'ddrnet23_aux')):
        path = tmp_path / name
        path.write_bytes(b'PK\x03\x04' + bytes(30))
        refused(
            path,
            f'{path} is a checkpoint of PyTorch; convert it first: python -m models.convert '
            f'--network {of} -i {path} -o {path.with_suffix(".h5")}$',
        )
