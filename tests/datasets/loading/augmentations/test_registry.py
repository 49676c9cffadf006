"""Augmentations by name: transforms from configs, and an augmentation of a user's own module."""

import cv2
import numpy as np
import pytest

import datasets
from common.errors import UserError
from common.sections import SectionError
from datasets.loading import augmentations
from datasets.loading.augmentations import (
    Augmentation,
    AugmentationKeys,
    ResizeCrop,
    ScaleCrop,
    ShortSides,
)
from datasets.loading.loader import Loader
from engine import config as configs
from engine.config import reference, schema
from support import stripes


def test_transforms_have_the_values_of_the_config():
    crop = {'image_height': 64, 'image_width': 128}
    assert augmentations.create(crop) == ScaleCrop((64, 128))
    changed = augmentations.create(
        {**crop, 'crop_scales': [0.75, 1.5], 'category_ratio': 1, 'pad_label': 0, 'flip': 0.0}
    )
    assert changed == ScaleCrop((64, 128), (0.75, 1.5), 1, flip=0.0, pad_label=0)
    sides = {'augmentation': 'short_sides', 'short_sides': [300, 375], 'max_side': 500}
    assert augmentations.create(sides) == ShortSides((300, 375), 500)
    resized = {**crop, 'augmentation': 'resize_crop', 'resize_height': 96, 'resize_width': 192}
    assert augmentations.create(resized) == ResizeCrop((64, 128), (96, 192))
    rotated = augmentations.create({**resized, 'rotation': 5.0, 'interpolation': 'linear'})
    assert rotated == ResizeCrop((64, 128), (96, 192), rotation=5, interpolation='linear')
    based = augmentations.create({**crop, 'base_size': [512, 2048]})
    assert based == ScaleCrop((64, 128), base=(512, 2048))


def test_transforms_have_the_documented_defaults():
    crop = ScaleCrop((64, 128))
    assert (crop.scale, crop.category_ratio, crop.flip) == ((0.5, 2.0), 0.75, 0.5)
    assert (crop.distort, crop.pad_label, crop.base) == (True, 255, None)
    resized = ResizeCrop((64, 128), (96, 192))
    assert (resized.scale, resized.flip, resized.distort) == ((1.0, 2.0), 0.5, False)
    assert (resized.pad_label, resized.rotation, resized.interpolation) == (255, 0.0, 'area')
    sides = ShortSides((300,))
    assert (sides.longest, sides.divisor, sides.flip) == (1000, 8, 0.5)
    assert (sides.distort, sides.pad_label) == (False, 255)


@pytest.mark.parametrize(
    'config, message',
    [
        ({'augmentation': 'crop'}, 'must be .*scale_crop'),
        ({'image_height': 64}, 'scale_crop also needs image_width'),
        ({'augmentation': 'short_sides'}, 'short_sides also needs short_sides'),
        (
            {
                'augmentation': 'resize_crop',
                'image_height': 64,
                'image_width': 64,
                'resize_height': 32,
                'resize_width': 64,
            },
            'larger than the resized image',
        ),
    ],
)
def test_wrong_configs_are_refused(config, message):
    with pytest.raises(UserError, match=message):
        augmentations.create(config)


def test_a_section_error_names_its_key():
    with pytest.raises(SectionError, match='^flip: must be at least 0 and at most 1, not 2'):
        augmentations.create({'image_height': 4, 'image_width': 4, 'flip': 2})


def test_workers_load_a_users_data_set_with_a_users_augmentation(stripes_root, own_modules):
    """Each worker process imports both modules itself."""
    dataset = datasets.open('stripes', stripes_root, 'train')
    transform = augmentations.create(
        {'augmentation': 'middle', 'image_height': 8, 'image_width': 10, 'middle_zoom': 2}
    )
    height, width = stripes.HEIGHT, stripes.WIDTH
    rows, columns = slice(height - 4, height + 4), slice(width - 5, width + 5)
    with Loader(
        dataset, transform, 4, (0, 0, 0), (1, 1, 1), 'bgr', shuffle=False, workers=2
    ) as loader:
        images, labels = loader.next()
        assert [sample.name for sample in loader.samples] == ['0', '1', '2', '3']
    for index in range(4):
        whole = cv2.resize(
            stripes.picture(index), (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR
        )
        expected = whole[rows, columns].transpose(2, 0, 1).astype(float)
        assert abs(images[index] - expected).max() <= 1
        doubled = stripes.truth(index).repeat(2, 0).repeat(2, 1)[rows, columns]
        assert np.array_equal(labels[index, 0], np.where(doubled == 255, -1, doubled.astype(int)))


def test_a_config_sets_the_keys_of_a_users_augmentation(own_modules):
    def loaded(**keys):
        values = {'augmentation': 'middle', 'image_height': 8, 'image_width': 10, **keys}
        return configs.load(overrides=[f'{key}={value}' for key, value in values.items()])

    assert augmentations.create(loaded()).flip == 0
    assert augmentations.create(loaded(middle_zoom=3)).zoom == 3
    for zoom, limits in ((5, 'at least 1 and at most 4'), (1.5, 'a whole number')):
        with pytest.raises(UserError, match=f'^middle_zoom: must be {limits}, not {zoom} .*--set'):
            loaded(middle_zoom=zoom)
    with pytest.raises(UserError, match='must be .* or middle'):
        loaded(augmentation='midle')
    with pytest.raises(UserError, match='middle_zoon: unknown key; the nearest is middle_zoom'):
        loaded(middle_zoon=2)
    with pytest.raises(
        UserError, match='^augmentation: middle also needs image_height, image_width'
    ):
        augmentations.create({'augmentation': 'middle'})


def test_the_config_reference_lists_added_keys_and_changed_defaults(own_modules):
    paragraphs = {
        paragraph.split('\n')[0]: paragraph for paragraph in reference.as_text().split('\n\n')
    }
    middle = paragraphs['Augmentation: middle']
    assert 'middle_zoom: whole number, at least 1 and at most 4; default: 1' in middle
    assert 'flip: number, at least 0 and at most 1; default: 0\n' in middle
    assert 'pad_label' not in middle
    assert 'photometric_distortion: true or false; default: false' in paragraphs['Augmentation']
    scale_crop = paragraphs['Augmentation: scale_crop']
    assert 'photometric_distortion: true or false; default: true' in scale_crop
    scales = 'crop_scales: list of 2 numbers, at most 100 and greater than 0; default: [1, 2]'
    assert scales in paragraphs['Augmentation: resize_crop']


def test_a_shared_key_has_the_default_of_the_chosen_augmentation(own_modules):
    chosen = schema.keys_for({'augmentation': 'middle'})
    assert (chosen['flip'].default, chosen['crop_scales'].default) == (0, (0.5, 2))
    assert schema.keys_for({'augmentation': 'resize_crop'})['crop_scales'].default == (1, 2)


def test_a_name_can_be_registered_once(own_modules):
    again = Augmentation('middle', AugmentationKeys, augmentations.create)
    with pytest.raises(UserError, match='^an augmentation called middle is registered already; '):
        augmentations.register(again)
