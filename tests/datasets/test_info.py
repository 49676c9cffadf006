"""Facts about data sets: names, classes and colours."""

import json

import pytest

import datasets


def test_every_data_set_has_one_colour_per_class():
    for name in datasets.names():
        info = datasets.info(name)
        assert info.name == name
        assert len(info.classes) == len(info.palette) == len(set(info.classes))
        assert all(0 <= value <= 255 for colour in info.palette for value in colour)


def test_classes_of_camvid_are_those_of_the_trained_model(shared):
    facts = json.loads((shared / 'demo' / 'D3Net_T_camvid.json').read_text())
    info = datasets.info('camvid')
    assert list(info.classes) == list(facts['iou'])
    assert [list(colour) for colour in info.palette] == facts['palette_rgb']


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(datasets.DataError, match="'cityscape'.*cityscapes"):
        datasets.info('cityscape')


def test_default_colours_are_those_of_voc():
    voc = [(128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128),
           (128, 128, 128), (64, 0, 0)]  # fmt: skip
    assert datasets.distinct_colours(8) == tuple(voc)
    assert len(set(datasets.distinct_colours(255))) == 255


def test_more_classes_than_a_label_map_can_hold_are_refused():
    def made(count):
        names = tuple(map(str, range(count)))
        return datasets.DatasetInfo('letters', names, datasets.distinct_colours(count))

    assert len(made(255).classes) == 255
    with pytest.raises(datasets.DataError, match='data set letters: must be at most 255, not 256'):
        made(256)
