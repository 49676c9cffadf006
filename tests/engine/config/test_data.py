"""The data set of a config: its root, and the class names and colours of the config."""

import numpy as np
import pytest

import datasets
from common.errors import UserError
from datasets.loading import pack
from engine.config import loading
from engine.config.data import check_classes, first_samples, open_dataset
from support import mpi_training

OWN = """\
network: d3net_s
dataset: folder
num_classes: 5
classes: [v, w, x, y, z]
palette: [[1, 1, 1], [2, 2, 2], [3, 3, 3], [4, 4, 4], [5, 5, 5]]
"""


@pytest.fixture
def root(tmp_path):
    """A data set of sixteen training images and five validation images; its classes are a to e."""
    mpi_training.write_data(tmp_path / 'own')
    return tmp_path / 'own'


@pytest.fixture
def config_file(tmp_path):
    """A config with names and colours of its own."""
    path = tmp_path / 'config.yaml'
    path.write_text(OWN)
    return path


def test_classes_and_colours_of_the_config_replace_those_of_the_data_set(config_file, root):
    dataset = open_dataset(loading.load(config_file), 'val', root)
    assert dataset.info.classes == ('v', 'w', 'x', 'y', 'z')
    assert dataset.info.palette == tuple((i, i, i) for i in range(1, 6))
    config_file.write_text('network: d3net_s\ndataset: folder\nnum_classes: 5\n')
    assert open_dataset(loading.load(config_file), 'val', root).info.classes == tuple('abcde')


def test_the_root_is_that_of_the_caller_or_else_of_the_config(config_file, root, tmp_path):
    images = sorted((root / 'images' / 'val').iterdir())
    config = loading.load(config_file, [f'data_dir={root}'])
    assert sorted(sample.image for sample in open_dataset(config, 'val')) == images
    config = loading.load(config_file, [f'data_dir={tmp_path / "none"}'])
    assert sorted(sample.image for sample in open_dataset(config, 'val', root)) == images
    with pytest.raises(UserError, match='none'):
        open_dataset(config, 'val')


def test_the_first_samples_keep_their_order(config_file, root):
    dataset = open_dataset(loading.load(config_file), 'train', root)
    assert len(dataset) == 16
    assert list(first_samples(dataset, 3)) == list(dataset)[:3]
    assert list(first_samples(dataset, None)) == list(dataset)


def test_classes_in_another_order_are_refused_and_other_names_reported(config_file, root, caplog):
    config = loading.load(config_file)
    with pytest.raises(UserError, match=r"class 2 is 'd' in X and 'c' in .*own: both.*order.*; Y"):
        check_classes(tuple('abdce'), 'X', config, root, 'Y')
    for names in (tuple('abcde'), None, ()):
        check_classes(names, 'X', config, root, 'Y')
    assert not caplog.messages
    for names, text in (
        (tuple('abxde'), "class 2 is 'x' in X and 'c' in the data set"),
        (tuple('abcd'), "class 4 is missing in X and 'e' in the data set"),
    ):
        caplog.clear()
        check_classes(names, 'X', config, root, 'Y')
        (line,) = caplog.messages
        assert line.startswith(text)


def test_the_categories_of_a_data_set_stay_with_its_own_names():
    """The config of a run lists the names of the data set; other names have no categories."""
    plain = loading.load()
    info = loading.class_info(plain)
    assert len(info.categories) == 19
    named = loading.load(overrides=[f'classes={list(info.classes)}'])
    assert loading.class_info(named) == info
    renamed = loading.load(overrides=[f'classes={["way", *info.classes[1:]]}'])
    assert loading.class_info(renamed).categories is None


def test_packed_data_are_opened_in_place_of_files(config_file, root, tmp_path):
    """Classes and colours are those of the config, pixels and labels those of the files."""
    files = open_dataset(loading.load(config_file), 'val', root)
    pack.pack(datasets.open('folder', root, 'val'), tmp_path / 'packed' / 'val')
    for folder in (tmp_path / 'packed', tmp_path / 'packed' / 'val'):
        packed = open_dataset(loading.load(config_file), 'val', folder)
        assert isinstance(packed, pack.PackedDataset)
        assert packed.info == files.info
        for index in range(len(files)):
            for one, other in zip(packed.pair(index), files.pair(index)):
                assert np.array_equal(one, other)
    config_file.write_text(OWN.partition('num_classes')[0] + f'data_dir: {tmp_path / "packed"}\n')
    config = loading.load(config_file)
    assert (config['num_classes'], open_dataset(config, 'val').info.classes) == (5, tuple('abcde'))


@pytest.mark.parametrize(
    ('changes', 'split', 'list_file', 'message'),
    [
        ((), 'train', None, 'no packed train here, only val; pack it with python -m datasets.prep'),
        ((), 'val', 'list.txt', '--list: '),
        (('dataset=camvid', 'num_classes=11', 'classes=null', 'palette=null'), 'val', None,
         'holds packed folder, not camvid'),
        (('bit_depth=12',), 'val', None, 'packed with bit_depth not set, not 12'),
    ],
)  # fmt: skip
def test_other_packed_data_are_refused(
    config_file, root, tmp_path, changes, split, list_file, message
):
    pack.pack(datasets.open('folder', root, 'val'), tmp_path / 'packed' / 'val')
    config = loading.load(config_file, changes)
    with pytest.raises(UserError) as error:
        open_dataset(config, split, tmp_path / 'packed', list_file)
    assert message in str(error.value)
    assert str(tmp_path / 'packed') in str(error.value)
