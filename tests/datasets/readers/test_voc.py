"""PASCAL VOC 2012: palette PNGs are read as indices, augmented labels take precedence."""

import shutil

import numpy as np
import pytest
from PIL import Image

import datasets
from common.errors import InputError
from datasets import DataError, Sample
from datasets.readers import voc

# Background and VOC.classes of the VOC 2012 development kit, VOCcode/VOCinit.m.
CLASSES = (
    'background', 'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair',
    'cow', 'diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa',
    'train', 'tvmonitor',
)  # fmt: skip


@pytest.fixture
def root(shared):
    return shared / 'data/samples/VOCdevkit/VOC2012'


@pytest.fixture
def copy(root, tmp_path):
    return shutil.copytree(root, tmp_path / 'VOC2012', copy_function=shutil.copyfile)


def test_the_palette_equals_that_of_the_genuine_files(root):
    """Each pixel's colour in the file is the colour of its class."""
    palette = np.array(datasets.info('voc').palette)
    dataset = datasets.open('voc', root, 'trainval')
    seen = set()
    for index, sample in enumerate(dataset):
        label = dataset.label(index)
        colours = np.asarray(Image.open(sample.label).convert('RGB'))
        known = label != 255
        assert np.array_equal(colours[known], palette[label[known]])
        seen |= set(np.unique(label).tolist())
    assert seen > {0, 15, 255}


def test_names_are_those_of_the_development_kit():
    """The development kit sorts them."""
    assert datasets.info('voc').classes == CLASSES
    assert list(CLASSES[1:]) == sorted(CLASSES[1:])


def test_both_folders_of_labels_agree(root):
    files = sorted((root / 'SegmentationClass').iterdir())
    assert len(files) == 5
    for path in files:
        assert np.array_equal(
            voc.decode(path), voc.decode(root / 'SegmentationClassAug' / path.name)
        )


def test_augmented_labels_and_lists_take_precedence(copy):
    dataset = datasets.open('voc', copy, 'train')
    assert {sample.label.parent.name for sample in dataset} == {'SegmentationClassAug'}
    assert dataset.samples == datasets.open('voc', copy, 'trainaug').samples
    assert dataset[0].name == '2008_000393'  # not among the original labels
    shutil.rmtree(copy / 'SegmentationClassAug')
    with pytest.raises(DataError, match='no label, .*SegmentationClass/.* 10 of 15 images'):
        datasets.open('voc', copy, 'val')
    (copy / 'ImageSets/Segmentation/val.txt').write_text('2007_000129\n2008_002536\n')
    dataset = datasets.open('voc', copy, 'val')
    assert {sample.label.parent.name for sample in dataset} == {'SegmentationClass'}
    assert len(dataset) == 2


def test_a_missing_list_or_image_is_reported(copy):
    lists = copy / 'ImageSets/Segmentation'
    with pytest.raises(DataError, match='Segmentation/test.txt is missing; it lists'):
        datasets.open('voc', copy, 'test')
    (lists / 'test.txt').write_text('2007_000129\n')
    assert datasets.open('voc', copy, 'test')[0].label is None
    (lists / 'trainaug.txt').rename(lists / 'train.txt')
    assert len(datasets.open('voc', copy, 'train')) == 8
    (lists / 'val.txt').write_text('2007_000129\n2007_000130\n')
    with pytest.raises(DataError, match="val.txt, line 2: there is no image called '2007_000130'"):
        datasets.open('voc', copy, 'val')


def test_colour_images_are_refused_as_labels(root, tmp_path):
    path = tmp_path / '2007_000129.png'
    Image.open(root / 'SegmentationClass' / path.name).convert('RGB').save(path)
    with pytest.raises(InputError, match='2007_000129.png: a colour image.* 8-bit grey PNG'):
        voc.decode(path)


def test_submitted_values_are_class_indices(tmp_path):
    labels = np.array([[0, 20]], np.uint8)
    name, values = voc.submission(Sample('x', tmp_path / '2008_000001.jpg', None), labels)
    assert (name, values.tolist()) == ('2008_000001.png', [[0, 20]])
