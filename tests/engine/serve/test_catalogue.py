"""Which models a server offers, and which of them stay loaded."""

import numpy as np
import pytest

from common.errors import UserError
from engine.config.settings import ConfigSettings
from engine.device.settings import DeviceSettings
from engine.inference.segmenter import Segmenter
from engine.inference.settings import ProtocolSettings, WeightsSettings
from engine.serve.catalogue import MAX_LOADED, Catalogue
from engine.serve.refusal import Refusal
from engine.serve.settings import ServeSettings
from support import exported_files
from support.tiny_config import write_tiny_config

OTHERS = 'b', 'c', 'd', 'e'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with configs of one tiny network, one without weights and one that is damaged."""
    folder = tmp_path_factory.mktemp('configs')
    write_tiny_config(folder, 'camvid', 11)
    for name in OTHERS:
        (folder / f'{name}.yaml').write_text('_base_: tiny.yaml\n')
    (folder / 'elsewhere.yaml').write_text('_base_: tiny.yaml\nweights: D3Net-L.h5\n')
    (folder / 'nameless.yaml').write_text('_base_: tiny.yaml\nweights: null\n')
    (folder / 'damaged.yaml').write_text('num_classes: many\n')
    return folder


def catalogue(folder, config=None, **groups):
    config = config and str(config)
    return Catalogue(
        ServeSettings(
            config=ConfigSettings(config), device=DeviceSettings(context='cpu'), **groups
        ),
        folder,
    )


def test_every_config_with_weights_is_offered_the_given_one_first(folder):
    models = catalogue(folder, folder / 'd.yaml')
    assert list(models.entries) == ['d', 'b', 'c', 'e', 'tiny']
    assert models.default == 'd' and models.entry(None).name == 'd'
    assert [name for name in models.entries if models.is_loaded(name)] == ['d']


def test_without_a_config_the_first_one_with_weights_is_the_default(folder, tmp_path):
    assert catalogue(folder).default == 'b'
    with pytest.raises(UserError, match='no config of the project has its weights here; pass'):
        catalogue(tmp_path)


def test_given_weights_belong_to_the_given_config_alone(folder, tmp_path):
    other = tmp_path / 'other.h5'
    other.write_bytes((folder / 'tiny.h5').read_bytes())
    models = catalogue(folder, folder / 'b.yaml', weights=WeightsSettings(weights=str(other)))
    assert models.entry('b').file == 'other.h5'
    assert {models.entry(name).file for name in ('c', 'tiny')} == {'tiny.h5'}


def test_names_are_unique(folder, tmp_path):
    own = write_tiny_config(tmp_path, 'camvid', 11)
    models = catalogue(folder, own)
    assert list(models.entries) == ['tiny', *OTHERS, 'tiny-2']
    assert models.entry('tiny').config.path == own
    assert models.entry('tiny-2').config.path == folder / 'tiny.yaml'


def test_few_models_stay_loaded(folder):
    models = catalogue(folder, folder / 'tiny.yaml')
    first = models.segmenter(models.entry('tiny'))

    def loaded():
        return [name for name in models.entries if models.is_loaded(name)]

    b = models.segmenter(models.entry('b'))
    models.segmenter(models.entry('c'))
    assert loaded() == ['tiny', 'b', 'c'] and len(loaded()) == MAX_LOADED
    assert models.segmenter(models.entry('b')) is b
    models.segmenter(models.entry('d'))  # in the place of c, which was used before b
    assert loaded() == ['tiny', 'b', 'd']
    assert models.segmenter(models.entry('tiny')) is first


def test_weights_that_vanish(folder, tmp_path, caplog):
    """The client is told which model, the log says where the file was."""
    write_tiny_config(tmp_path, 'camvid', 11)
    models = catalogue(tmp_path, folder / 'b.yaml')
    (tmp_path / 'tiny.h5').unlink()
    with pytest.raises(Refusal) as error:
        models.segmenter(models.entry('tiny'))
    assert error.value.status == 500 and str(tmp_path) not in str(error.value)
    assert str(tmp_path) in caplog.text


def test_an_unknown_model_is_refused_with_the_nearest_names(folder):
    models = catalogue(folder, folder / 'tiny.yaml')
    with pytest.raises(Refusal, match="model: 'Tiny1' is not here; the nearest: tiny ") as error:
        models.entry('Tiny1')
    assert error.value.status == 422
    with pytest.raises(Refusal, match='the nearest: tiny, b, c '):
        models.entry('zzz')


def test_views_of_all_models_follow_the_command_line(folder):
    models = catalogue(folder, protocol=ProtocolSettings(size=(32, 64)))
    assert {entry.protocol.size for entry in models.entries.values()} == {(32, 64)}
    assert not any(entry.scalable for entry in models.entries.values())
    assert all(entry.resizes for entry in models.entries.values())
    with pytest.raises(Refusal, match='scale: b resizes every picture to a size of its own'):
        models.entry('b').scaled(0.5)


def test_a_scale_replaces_the_area_of_the_training(tmp_path):
    path = write_tiny_config(tmp_path, 'camvid', 11, trained_size=[32, 64], test_trained_area=True)
    entry = catalogue(tmp_path, path).entry('tiny')
    assert entry.scalable and entry.resizes
    assert entry.scaled(None).area_of == (32, 64)
    by_infer = catalogue(tmp_path, path, protocol=ProtocolSettings(scales=(0.5,))).entry('tiny')
    assert not by_infer.resizes
    assert entry.scaled(0.5) == by_infer.protocol


def test_an_exported_file_is_a_model_of_its_own_name(folder, tmp_path):
    _, file = exported_files.written(tmp_path, 'small.onnx', '--size', '48x64')
    models = catalogue(folder, weights=WeightsSettings(weights=str(file)))
    entry = models.entry(None)
    assert (entry.name, entry.file) == ('small', 'small.onnx')
    labels = models.segmenter(entry)(exported_files.IMAGE, entry.protocol).labels
    alone = Segmenter(weights=file, context='cpu')(exported_files.IMAGE)
    assert np.array_equal(labels, alone.labels)
