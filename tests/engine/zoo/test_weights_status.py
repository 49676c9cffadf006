"""Where the weights of a config are: on a page, here as a checkpoint, or here as converted."""

from pathlib import Path

import pytest

import models
from engine.zoo.weights_status import find_status
from support.config_files import load


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    """Work in an empty folder, with an empty cache folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('NNSEG_CACHE', str(tmp_path / 'cache'))
    return tmp_path


def status(name):
    """Return the status of the weights of a config."""
    config = load(name)
    return find_status(config, config['network'], models.describe(config), config['dataset'])


def test_weights_are_here_once_they_are_converted():
    """First on a page, then as a checkpoint, then as the file that the command writes."""
    name = 'DDRNet23slim_cityscapes'
    found = status(name)
    assert (found.state, found.file) == ('elsewhere', None)
    assert found.source.startswith('best_val_smaller.pth at https://drive.google.com/')
    assert found.command == (
        f'python -m models.convert --network ddrnet23_slim_aux -i best_val_smaller.pth -o {name}.h5'
    )
    Path('best_val_smaller.pth').touch()
    assert (status(name).state, status(name).file) == ('to convert', Path('best_val_smaller.pth'))
    Path(f'{name}.h5').touch()
    assert (status(name).state, status(name).file) == ('here', Path(f'{name}.h5'))


def test_half_of_a_network_is_not_here(folder):
    """CSAIL publishes encoder and decoder as two files."""
    (folder / 'ade20k-resnet50-upernet').mkdir()
    for half, state in (('encoder', 'elsewhere'), ('decoder', 'to convert')):
        (folder / 'ade20k-resnet50-upernet' / f'{half}_epoch_30.pth').touch()
        assert status('CSAIL_resnet50_upernet_ade20k').state == state


def test_a_download_is_looked_for_in_the_cache_folder(folder):
    assert status('D3Net_S').state == 'elsewhere'
    (folder / 'cache').mkdir()
    (folder / 'cache' / 'D3Net-S.h5').touch()
    found = status('D3Net_S')
    assert (found.state, found.file) == ('here', folder / 'cache' / 'D3Net-S.h5')
    assert found.command == 'python infer.py -i resources/street.jpg -cfg configs/D3Net_S.yaml'


@pytest.mark.parametrize(
    'name, source',
    [
        ('EdgeAILite_deeplabv3plus_mobilenetv2_tv_cocoseg21', '512x512_20210405_checkpoint.pth'),
        ('EdgeAILite_deeplabv3plus_mobilenetv2_tv_voc', None),  # 21 classes as well
        ('DABNet_R18P2_cocostuff10k', 'COCO-10k'),
        ('DABNet_R18P2_cocostuff164k', None),  # 171 classes as well
    ],
)
def test_published_weights_of_a_config_are_those_of_its_data_set(name, source):
    found = status(name)
    if source is None:
        assert (found.state, found.source) == ('none', 'not published')
        assert found.command == f'python train.py -cfg configs/{name}.yaml'
    else:
        assert found.state == 'elsewhere' and source in found.source
        assert found.command.startswith('python -m models.convert --network ')


def test_a_file_that_cannot_be_loaded_is_named_with_the_reason():
    found = status('EdgeAILite_fpn_aspp_regnetx400mf_ade20k32')
    assert found.state == 'none' and 'outby4.onnx at https://github.com/' in found.source
    assert found.source.endswith(
        'TI published it as ONNX only, which this project does not convert'
    )
    assert found.command.startswith('python train.py ')
