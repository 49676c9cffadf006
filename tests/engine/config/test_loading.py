"""Configs: inheritance, overrides, checks, and the published files."""

from pathlib import Path

import pytest

import models
from common.errors import UserError
from datasets.loading import augmentations
from engine.config import loading as config
from support import stand_ins

PUBLISHED_S = """\
batch_size: 8
num_init_features: 64
num_layers: [4, 4, 4, 4]
n_blocks: [8, 8, 8, 8]
dens_k: [36, 36, 36, 36]
block_comp: [0.2, 0.2, 0.2, 0.2]
intermediate_out_ch: [32, 40, 64, 128]
trans_comp_factor: 2
dense_n_out_layer_block: [4, 4, 4, 4]
dilation: [True, True, True, True]
channels: 264
image_height: 512
image_width: 1024
num_classes: 19
max_iter: 80000
save_interval: 8000
lr: 0.01
momentum: 0.9
weight_decay: 0.0005
power: 0.9
min_lr: 0.0001
mean: [123.675, 116.28, 103.53]
std: [58.395, 57.12, 57.375]
"""
OLDER_KEYS = """\
input_transform: 'resize_concat'
kernel_size: 1
num_convs: 1
concat_input: False
dropout_ratio: -1
align_corners: False
"""


def write(folder, name, text):
    path = folder / name
    path.write_text(text, encoding='utf-8')
    return path


@pytest.mark.parametrize('extra', ['', OLDER_KEYS])
def test_the_published_file_loads_unchanged(tmp_path, extra):
    loaded = config.load(write(tmp_path, 'theirs.yaml', PUBLISHED_S + extra))
    ours = config.load('configs/D3Net_S.yaml')
    assert models.create(loaded).hyper == models.create(ours).hyper
    assert config.class_info(loaded) == config.class_info(ours)
    assert config.class_info(loaded).classes[0] == 'road'
    for key in ('batch_size', 'image_height', 'max_iter', 'lr', 'min_lr', 'weight_decay', 'mean'):
        assert loaded[key] == ours[key]


@pytest.mark.parametrize('network', ['d3net_s', 'd3net_l'])
def test_our_configs_have_the_published_values(network, shared):
    meta, _ = stand_ins.seeded_weights(shared).load_fixture(network)
    ours = config.load(f'configs/D3Net_{network[-1].upper()}.yaml')
    for key, value in meta['hyper_parameters'].items():
        if key in config.FIXED_VALUES:
            assert key not in ours
        else:
            assert ours[key] == value, key
    assert tuple(map(tuple, ours['palette'])) == config.datasets.info('cityscapes').palette


def test_bases_are_merged_by_key_and_origins_are_recorded(tmp_path):
    write(tmp_path, 'grand.yaml', PUBLISHED_S)
    write(tmp_path, 'base.yaml', '_base_: grand.yaml\nlr: 0.5\nmin_lr: 0.1\n')
    path = write(tmp_path, 'own.yaml', '_base_: [grand.yaml, base.yaml]\nmin_lr: 0.2\n')
    loaded = config.load(path)
    assert (loaded['lr'], loaded['min_lr'], loaded['batch_size']) == (0.5, 0.2, 8)
    origins = [Path(loaded.origin(key)).name for key in ('lr', 'min_lr', 'batch_size')]
    assert origins == ['base.yaml', 'own.yaml', 'grand.yaml']
    assert loaded.name == 'own'


def test_overrides_are_parsed_as_yaml(tmp_path):
    loaded = config.load('configs/D3Net_S.yaml', ['lr=1e-3', 'n_blocks=[1, 2, 3, 4]', 'palette='])
    assert (loaded['lr'], loaded['n_blocks']) == (0.001, [1, 2, 3, 4])
    assert 'palette' not in loaded
    assert loaded.origin('lr') == '--set'


def test_paths_are_relative_to_the_file_that_contains_them(tmp_path):
    (tmp_path / 'sub').mkdir()
    write(tmp_path, 'mine.h5', '')
    write(tmp_path, 'base.yaml', PUBLISHED_S + 'weights: mine.h5\n')
    loaded = config.load(write(tmp_path / 'sub', 'own.yaml', '_base_: ../base.yaml\n'))
    assert loaded['weights'] == str(tmp_path / 'mine.h5')
    published = config.load(write(tmp_path, 'p.yaml', PUBLISHED_S + 'weights: D3Net-S.h5\n'))
    assert published['weights'] == 'D3Net-S.h5'


def test_configs_are_found_from_any_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config.load().name == 'D3Net_L'
    assert config.load('configs/D3Net_T_camvid.yaml').name == 'D3Net_T_camvid'


def test_the_default_config_is_the_projects_in_any_working_directory(tmp_path, monkeypatch):
    (tmp_path / 'configs').mkdir()
    write(tmp_path / 'configs', 'D3Net_L.yaml', PUBLISHED_S)
    monkeypatch.chdir(tmp_path)
    assert config.load().path == config.DEFAULT_CONFIG
    assert config.load('configs/D3Net_L.yaml').path == tmp_path / 'configs' / 'D3Net_L.yaml'


def test_an_impossible_file_name_is_reported():
    with pytest.raises(UserError, match='File name too long'):
        config.load('x' * 300)


def test_own_classes_get_generated_names_and_colours(tmp_path):
    own = 'num_classes: 2\nclasses: [cat, dog]\n'
    text = PUBLISHED_S.replace('num_classes: 19\n', own)
    info = config.class_info(config.load(write(tmp_path, 'a.yaml', text)))
    assert info.classes == ('cat', 'dog')
    assert len(set(info.palette)) == 2
    text = PUBLISHED_S.replace('num_classes: 19\n', 'num_classes: 3\n')
    info = config.class_info(config.load(write(tmp_path, 'b.yaml', text)))
    assert info.classes == ('class 0', 'class 1', 'class 2')


def test_the_classes_of_a_file_say_how_many_there_are(tmp_path):
    """Neither the number nor the colours that it inherits for other classes apply."""
    write(tmp_path, 'base.yaml', PUBLISHED_S + f'palette: {[[i, i, i] for i in range(19)]}\n')
    path = write(tmp_path, 'own.yaml', '_base_: base.yaml\nclasses: [cat, dog]\n')
    for options, names, origin in (
        ([], ('cat', 'dog'), str(path)),
        (['classes=[a, b, c]'], ('a', 'b', 'c'), '--set'),
    ):
        loaded = config.load(path, options)
        info = config.class_info(loaded)
        assert (loaded['num_classes'], loaded.origin('num_classes')) == (len(names), origin)
        assert info.classes == names
        assert len(set(info.palette)) == len(names)
    same = config.load(path, [f'classes={[f"c{i}" for i in range(19)]}', 'num_classes=19'])
    assert config.class_info(same).classes[18] == 'c18'
    with pytest.raises(UserError, match='2 names .*own.yaml., but num_classes is 5 .--set.; set'):
        config.load(path, ['num_classes=5'])


def test_class_names_are_those_written_and_all_differ(tmp_path):
    """YAML 1.1 reads some words as truth values, numbers and dates."""
    path = write(
        tmp_path, 'a.yaml', 'network: ddrnet23_slim\nclasses: [no, 1.0, null, 2024-05-01]\n'
    )
    loaded = config.load(path)
    assert config.class_info(loaded).classes == ('no', '1.0', 'null', '2024-05-01')
    again = write(tmp_path, 'b.yaml', config.with_origins(loaded))
    assert config.load(again)['classes'] == loaded['classes']
    assert config.load(path, ['classes=[yes, off]'])['classes'] == ['yes', 'off']
    with pytest.raises(UserError, match='classes: has car twice .--set.'):
        config.load(path, ['classes=[car, road, "car "]'])


def test_the_classes_of_the_data_set_say_how_many_there_are(tmp_path):
    path = write(tmp_path, 'a.yaml', 'network: ddrnet23_slim\ndataset: camvid\n')
    assert config.load(path)['num_classes'] == 11
    (tmp_path / 'own').mkdir()
    write(tmp_path / 'own', 'dataset.yaml', 'classes: [x, y, z]\n')
    options = {'data_dir': ('-d', str(tmp_path / 'own'))}
    without = PUBLISHED_S.replace('num_classes: 19\n', '')
    for text in ('network: ddrnet23_slim\n', without):
        path = write(tmp_path, 'b.yaml', text + 'dataset: folder\n')
        loaded = config.load(path, options=options)
        assert loaded['num_classes'] == 3
        assert config.class_info(loaded).classes == ('x', 'y', 'z')
    path = write(tmp_path, 'c.yaml', PUBLISHED_S + 'dataset: folder\n')
    with pytest.raises(UserError, match='3 names .*folder in .*own, .*c.yaml., but .* 19 .*c.yaml'):
        config.load(path, options=options)
    path = write(tmp_path, 'd.yaml', without)
    with pytest.raises(UserError, match='num_classes: must be given; .* classes or dataset'):
        config.load(path)
    path = write(tmp_path, 'e.yaml', without + 'dataset: folder\ndata_dir: gone\n')
    with pytest.raises(UserError, match='num_classes: .* folder are those in gone, which is not'):
        config.load(path)


@pytest.mark.parametrize(
    'text, message',
    [
        (
            'learning_rate: 1',
            'learning_rate: unknown key; python -m engine.config --reference lists all keys, '
            'such as lr, gamma, min_lr .*own.yaml',
        ),
        ('wd9: 1', 'wd9: unknown key; python -m engine.config --reference lists all keys .*own'),
        ('bach_size: 1', 'bach_size: unknown key; the nearest is batch_size .*own.yaml'),
        ('lr: fast', "lr: must be a number, not 'fast' .*own.yaml"),
        ('lr: 0', 'lr: must be greater than 0, not 0'),
        ('lr: .nan', 'lr: must be finite, not nan'),
        ('batch_size: 1.5', 'batch_size: must be a whole number, not 1.5'),
        ('batch_size: yes', 'batch_size: must be a whole number, not True'),
        ('batch_size: 0', 'batch_size: must be at least 1 and at most 65536, not 0'),
        ('momentum: 2', 'momentum: must be at least 0 and at most 1'),
        ('num_classes: 256', 'num_classes: must be at least 1 and at most 255'),
        ('mean: [1, 2]', 'mean: must be a list of 3 values'),
        ('std: [1, 0, 1]', 'std: must be greater than 0'),
        ('palette: [[1, 2]]', 'palette: must be a list of 3 values'),
        ('palette: [[1, 2, 256]]', 'palette: must be at least 0 and at most 255'),
        (
            'palette: [[1, 2, 3]]',
            'palette: 1 colours .*own.yaml., but num_classes is 19 .*base.yaml.; list 19 .* null',
        ),
        (
            'classes: [a, b]\nnum_classes: 3',
            'classes: 2 names, but num_classes is 3 .both .*own.yaml.; set num_classes to 2, or ',
        ),
        (
            'num_classes: 5\ndataset: camvid',
            'classes: 11 names .the data set camvid, .*own.yaml., but num_classes is 5 .*own.yaml',
        ),
        ('dens_k: 36', r'dens_k: must be a list, such as \[36\], not 36 '),
        ('dens_k: 3, 4', r'dens_k: must be a list, such as \[3, 4\], not .3, 4. '),
        ('dens_k: [36, 36]', 'dens_k: 2 values for the 4 stages .*own.yaml'),
        ('network: d3nett', "network: no network is called 'd3nett'.*own.yaml"),
        ('dataset: cityscape', "dataset: no data set is called 'cityscape'.*own.yaml"),
        ('dilation: [True, False]', 'dilation: only the published value True .* leave the key out'),
        ('dropout_ratio: 0.1', 'dropout_ratio: only the published value -1 is supported'),
        ('augmentation: mosaic', 'augmentation: must be .*scale_crop.*own.yaml'),
        ('augmentation: short_sides', 'augmentation: short_sides also needs short_sides'),
        ('pad_label: 256', 'pad_label: must be at least 0 and at most 255'),
        ('test_scales: [0]', 'test_scales: must be at most 16 and greater than 0'),
        ('test_stride: [5, 5]', 'test_stride: .*test_window., which is missing .*own.yaml'),
        (
            'test_short_sides: [300]\ntest_size: [30, 40]',
            'test_size, test_short_sides: .*; use one of them .test_size: .*own.yaml; test_short',
        ),
        ('lr: 1e999', 'lr: must be finite, not .1e999'),
        ('_base_: [3]', '_base_ must name a file, not 3'),
        ('min_lr: 1', 'min_lr: must be at most lr, 0.01, not 1.0 .*own.yaml'),
        ('lr: 1\nlr: 2', 'own.yaml: not valid YAML in line 3: duplicate key lr'),
        ('lr: [1', 'own.yaml: not valid YAML in line'),
        ('lr: !!python/object:os.system 1', 'own.yaml: not valid YAML'),
    ],
)
def test_mistakes_name_the_key_and_the_file(tmp_path, text, message):
    write(tmp_path, 'base.yaml', PUBLISHED_S)
    base = '' if '_base_' in text else '_base_: base.yaml\n'
    path = write(tmp_path, 'own.yaml', f'{base}{text}\n')
    with pytest.raises(UserError, match=message) as caught:
        config.load(path)
    assert '\n' not in ' '.join(str(caught.value).split())


def test_the_published_keys_give_the_published_augmentation(tmp_path):
    loaded = config.load(write(tmp_path, 'theirs.yaml', PUBLISHED_S + 'pad_label: 0\n'))
    transform = augmentations.create(loaded)
    assert isinstance(transform, augmentations.ScaleCrop)
    assert (transform.size, transform.scale) == ((512, 1024), (0.5, 2.0))
    assert (transform.category_ratio, transform.flip, transform.pad_label) == (0.75, 0.5, 0)


def test_files_that_are_not_configs_are_reported(tmp_path):
    with pytest.raises(
        UserError, match='none.yaml: no such config; available are .*configs/D3Net_L'
    ):
        config.load('none.yaml')
    with pytest.raises(UserError, match='nearest are configs/DDRNet23slim_cityscapes.yaml'):
        config.load('ddrnet23slim.yaml')
    with pytest.raises(UserError, match='a config must consist of "key: value" lines'):
        config.load(write(tmp_path, 'list.yaml', '- 1\n'))
    with pytest.raises(UserError, match='a config must consist of "key: value" lines'):
        config.load(write(tmp_path, 'empty.yaml', ''))
    (tmp_path / 'binary.yaml').write_bytes(b'\xff\xfe\x00\x80')
    with pytest.raises(UserError, match='not UTF-16 text'):
        config.load(tmp_path / 'binary.yaml')


def test_missing_and_cyclic_bases_are_reported(tmp_path):
    with pytest.raises(
        UserError, match='_base_ names nowhere.yaml, but there is no .*/nowhere.yaml$'
    ):
        config.load(write(tmp_path, 'a.yaml', '_base_: nowhere.yaml\n'))
    with pytest.raises(UserError, match='_base_ names .., but there is no config.yaml in .*/..$'):
        config.load(write(tmp_path, 'a.yaml', '_base_: ..\n'))
    write(tmp_path, 'b.yaml', '_base_: c.yaml\n')
    with pytest.raises(UserError, match='forms a cycle through c.yaml, b.yaml'):
        config.load(write(tmp_path, 'c.yaml', '_base_: b.yaml\n'))


def test_invalid_overrides_are_reported(tmp_path):
    with pytest.raises(UserError, match='--set lr: write it as key=value'):
        config.load('configs/D3Net_S.yaml', ['lr'])
    with pytest.raises(UserError, match='_base_: unknown key; set it in the config file'):
        config.load('configs/D3Net_S.yaml', ['_base_=x.yaml'])
    with pytest.raises(UserError, match=r'lrr: unknown key; the nearest is lr \(--set\)'):
        config.load('configs/D3Net_S.yaml', ['lrr=1'])


def test_an_option_of_a_command_overrides_a_key(tmp_path):
    path = write(tmp_path, 'own.yaml', PUBLISHED_S)
    loaded = config.load(path, ['lr=0.5', 'data_dir=x'], {'data_dir': ('-d', '/data')})
    assert (loaded['lr'], loaded['data_dir']) == (0.5, '/data')
    assert (loaded.origin('lr'), loaded.origin('data_dir')) == ('--set', '-d')
    with pytest.raises(UserError, match=r"recompute: must be none, .* not 'all' \(-r\)"):
        config.load(path, (), {'recompute': ('-r', 'all')})


def test_a_config_is_completed_by_missing_keys_only(tmp_path):
    loaded = config.load(write(tmp_path, 'own.yaml', PUBLISHED_S))
    completed = loaded.completed({'lr': 9.0, 'mean': (1.0, 2.0, 3.0)}, 'the weights')
    assert completed['lr'] == loaded['lr'] != 9
    assert completed.origin('lr') == loaded.origin('lr')
    assert 'channel_order' not in completed
    assert completed['mean'] == loaded['mean']
    completed = loaded.completed({'aux_weights': (1.0,)}, 'the weights')
    assert (completed['aux_weights'], completed.origin('aux_weights')) == ([1.0], 'the weights')
    assert 'aux_weights' not in loaded


def test_paths_of_options_and_bare_names_become_absolute(tmp_path, monkeypatch):
    """A run writes them into its folder, where relative ones would mean other places."""
    (tmp_path / 'pictures').mkdir()
    monkeypatch.chdir(tmp_path)
    loaded = config.load('configs/D3Net_S.yaml', ['data_dir=data/own', 'pretrained=a.h5'])
    assert (loaded['data_dir'], loaded['pretrained']) == (str(tmp_path / 'data' / 'own'), 'a.h5')
    (tmp_path / 'configs').mkdir()
    path = write(tmp_path / 'configs', 'own.yaml', PUBLISHED_S + 'data_dir: pictures\n')
    assert config.load(path)['data_dir'] == str(tmp_path / 'pictures')


def test_another_data_set_takes_no_colours_weights_or_splits_of_the_inherited_one(tmp_path):
    own = ['dataset=folder', f'data_dir={tmp_path}']
    (tmp_path / 'dataset.yaml').write_text('classes: [sky, building, ground]')
    for base in (
        'D3Net_S',
        'D3Net_T_camvid',
        'DDRNet23slim_cityscapes',
    ):  # colours, splits, weights
        loaded = config.load(f'configs/{base}.yaml', [*own, 'num_classes=3'])
        assert config.class_info(loaded).classes == ('sky', 'building', 'ground')
        assert not {'palette', 'class_weights', 'train_split', 'val_split'} & set(loaded)
    kept = config.load('configs/D3Net_T_camvid.yaml', ['num_classes=11', 'dataset=camvid'])
    assert (kept['train_split'], len(kept['class_weights'])) == ('trainval', 11)
    same_number = config.load(
        'configs/D3Net_S.yaml', [*own, 'classes=' + str([*'abcdefghijklmnopqrs'])]
    )
    assert len(same_number['palette']) == 19
    given = config.load('configs/D3Net_T_camvid.yaml', [*own, 'num_classes=3', 'val_split=test'])
    assert given['val_split'] == 'test'
