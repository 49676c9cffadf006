"""Transforms: the published draws, ranges and pixels, and windows that equal the whole."""

import cv2
import numpy as np
import pytest

from benchmarks import loading_baseline
from common.errors import UserError
from datasets.loading import augmentations, resample, transforms
from datasets.loading.augmentations import ResizeCrop, ScaleCrop, ShortSides
from datasets.loading.transforms import Batch

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def label(height, width, seed=0):
    """Blocks of a few classes, one of which covers half; some pixels ignored."""
    rng = np.random.RandomState(seed)
    blocks = rng.choice([0, 0, 0, 1, 2, 255], (-(-height // 16), -(-width // 16)))
    return blocks.repeat(16, 0).repeat(16, 1)[:height, :width].astype(np.uint8)


def pair(height, width, seed=0):
    noise = np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)
    return noise, label(height, width, seed)


@pytest.mark.parametrize('size', [(128, 256), (200, 160), (97, 131)])
@pytest.mark.parametrize('seed', range(12))
def test_scale_crop_is_the_published_pipeline(size, seed):
    """Same draws, same labels to the last pixel, images of noise within one level of resizing
    everything first; the padding and the colours included.
    """
    image, classes = pair(*size, seed)
    settings = ScaleCrop((64, 128), distort=False)
    rng, other = np.random.RandomState(seed), np.random.RandomState(seed)
    expected, truth = loading_baseline.augmented(
        image, classes, settings, rng, (0, 0, 0), (1, 1, 1)
    )
    view = settings.view(classes, other, Batch(settings.size))
    window, cropped = resample.resample_image(image, view), resample.resample_label(classes, view)
    height, width = cropped.shape
    assert (height, width) == window.shape[:2]
    assert np.array_equal(
        np.where(cropped == 255, -1, cropped.astype(int)), truth[0, :height, :width]
    )
    assert (truth[0, height:] == -1).all()
    difference = window[..., ::-1].transpose(2, 0, 1) - expected[:, :height, :width]
    assert abs(difference).max() <= 1
    assert rng.randint(1 << 30) == other.randint(1 << 30), 'the draws differ'


def test_windows_at_every_edge_equal_resizing_everything():
    """Where a part begins or ends, its neighbours in the source count too."""
    image, classes = pair(90, 120)
    rng = np.random.RandomState(0)
    for _ in range(600):
        size = tuple(
            rng.choice([length, length // 2, length + rng.randint(-3, 4), rng.randint(30, 300)])
            for length in (90, 120)
        )
        height, width = rng.randint(1, size[0] + 1), rng.randint(1, size[1] + 1)
        top = rng.choice([0, size[0] - height, rng.randint(size[0] - height + 1)])
        left = rng.choice([0, size[1] - width, rng.randint(size[1] - width + 1)])
        view = resample.View(size, top, left, height, width, flip=bool(rng.randint(2)))
        rows, columns = slice(top, top + height), slice(left, left + width)
        mirror = slice(None, None, -1 if view.flip else 1)
        whole = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)[rows, columns]
        difference = resample.resample_image(image, view) - whole[:, mirror].astype(int)
        assert abs(difference).max() <= 1, view
        whole = cv2.resize(classes, size[::-1], interpolation=cv2.INTER_NEAREST)[rows, columns]
        assert np.array_equal(resample.resample_label(classes, view), whole[:, mirror]), view


def test_only_the_window_is_touched():
    """What makes a packed crop fast: far from the border, the rest of the image may be anything."""
    image, _ = pair(400, 400)
    view = resample.View((800, 800), 300, 300, 100, 100)
    before = resample.resample_image(image, view)
    image[:145] = image[205:] = image[:, :145] = image[:, 205:] = 0
    assert np.array_equal(resample.resample_image(image, view), before)


def test_a_crop_of_one_class_is_drawn_again():
    """The left half is one class, the right half has two: all crops see the right half, but those
    whose ten retries failed.
    """
    classes = np.zeros((64, 256), np.uint8)
    classes[:32, 128:] = 1
    settings = ScaleCrop((64, 64), scale=(1, 1))
    shares = []
    for seed in range(100):
        view = settings.view(classes, np.random.RandomState(seed), Batch(settings.size))
        shares.append((resample.resample_label(classes, view) == 1).mean())
    assert np.mean(np.array(shares) > 0.25) > 0.95
    alone = settings.view(np.zeros((64, 256), np.uint8), np.random.RandomState(0), Batch((64, 64)))
    assert (alone.height, alone.width) == (64, 64)


@pytest.mark.parametrize('size', [(480, 640), (640, 427), (720, 960), (200, 2000), (333, 333)])
@pytest.mark.parametrize('base', [(512, 2048), (2048, 512), (768, 1536)])
def test_scale_crop_of_a_base_size_is_mmsegmentations_resize(size, base):
    """Resize(img_scale=base, ratio_range=(0.5, 2)) with keep_ratio, and mmcv's rescale_size."""
    for seed in range(10):
        ratio = np.random.RandomState(seed).random_sample() * 1.5 + 0.5
        scale = int(base[0] * ratio), int(base[1] * ratio)
        height, width = size
        factor = min(max(scale) / max(height, width), min(scale) / min(height, width))
        expected = int(height * float(factor) + 0.5), int(width * float(factor) + 0.5)
        settings = ScaleCrop((64, 64), base=base, category_ratio=1)
        view = settings.view(label(*size), np.random.RandomState(seed), Batch((64, 64)))
        assert view.size == expected


@pytest.mark.parametrize('seed', range(20))
def test_colours_are_the_published_steps(seed):
    image, _ = pair(40, 50, seed)
    expected = loading_baseline.distorted(image, np.random.RandomState(seed))
    assert np.array_equal(transforms.distort(image, np.random.RandomState(seed)), expected)


@pytest.mark.parametrize('order', ['rgb', 'bgr'])
def test_normalisation_is_the_published_arithmetic(order):
    """OpenCV's subtraction and multiplication of every pixel, to the last bit."""
    image, _ = pair(33, 47)
    x = image.astype(np.float32)
    x = cv2.cvtColor(x, cv2.COLOR_BGR2RGB) if order == 'rgb' else x
    mean, std = np.float64(np.float32([MEAN])), np.float64(np.float32([STD]))
    expected = cv2.multiply(cv2.subtract(x, mean), 1 / std).transpose(2, 0, 1)
    assert np.array_equal(transforms.normalise(image, MEAN, STD, order), expected)


def test_resize_crop_covers_what_the_original_can_draw():
    """Half the images at the given size, the others larger; the crop inside; never padding."""
    settings = ResizeCrop((20, 40), (30, 60), flip=0.5)
    drawn = [
        settings.view(label(50, 90), np.random.RandomState(seed), Batch(settings.size))
        for seed in range(400)
    ]
    sizes = np.array([view.size for view in drawn])
    assert 0.4 < (sizes == (30, 60)).all(1).mean() < 0.6
    assert sizes.min(0).tolist() == [30, 60]
    assert (sizes.max(0) <= (60, 120)).all()
    assert (sizes.max(0) > (55, 110)).all()
    assert 0.4 < np.mean([view.flip for view in drawn]) < 0.6
    for view in drawn:
        assert (view.height, view.width) == (20, 40)
        assert 0 <= view.top <= view.size[0] - 20
        assert 0 <= view.left <= view.size[1] - 40


@pytest.mark.parametrize('interpolation', ['area', 'linear'])
@pytest.mark.parametrize('seed', range(20))
def test_resize_crop_is_two_crops_with_a_flip_between(seed, interpolation):
    """The original's steps one by one, with the same draws."""
    image, classes = pair(50, 90, seed)
    settings = ResizeCrop((20, 40), (30, 60), interpolation=interpolation)
    rng = np.random.RandomState(seed)
    size = (30, 60)
    if rng.random_sample() < 0.5:
        size = round(rng.uniform(1, 2) * 30), round(rng.uniform(1, 2) * 60)
    top, left = rng.randint(size[0] - 29), rng.randint(size[1] - 59)
    area = interpolation == 'area' and (size[0] < 50 or size[1] < 90)
    expected = cv2.resize(
        image, size[::-1], interpolation=cv2.INTER_AREA if area else cv2.INTER_LINEAR
    )[top : top + 30, left : left + 60]
    if rng.random_sample() < 0.5:
        expected = expected[:, ::-1]
    left, top = rng.randint(60 - 40 + 1), rng.randint(30 - 20 + 1)
    expected = expected[top : top + 20, left : left + 40].astype(int)
    view = settings.view(classes, np.random.RandomState(seed), Batch(settings.size))
    assert abs(resample.resample_image(image, view) - expected).max() <= 1


@pytest.mark.parametrize('seed', range(20))
def test_resize_crop_turns_half_of_the_images_first(seed):
    """The original's matrix and draws; it has class 0 where nothing of the image is left."""
    image, classes = pair(90, 70, seed)
    settings = ResizeCrop((30, 60), (30, 60), (1, 1), rotation=30, flip=0)
    rng = np.random.RandomState(seed)
    angle, turned = rng.uniform(-30, 30), rng.random_sample() < 0.5
    matrix = cv2.getRotationMatrix2D((35, 45), angle if turned else 0, 1)
    expected = cv2.warpAffine(
        image.astype(np.float32) - 128, matrix, (70, 90), flags=cv2.INTER_LINEAR
    )
    expected = cv2.resize(expected, (60, 30), interpolation=cv2.INTER_AREA) + 128
    inside = cv2.warpAffine(classes * 0 + 1, matrix, (70, 90), flags=cv2.INTER_NEAREST)
    truth = cv2.warpAffine(classes, matrix, (70, 90), flags=cv2.INTER_NEAREST)
    truth = cv2.resize(np.where(inside, truth, 255), (60, 30), interpolation=cv2.INTER_NEAREST)
    view = settings.view(classes, np.random.RandomState(seed), Batch(settings.size))
    assert abs(resample.resample_image(image, view) - expected).max() <= 2
    assert np.array_equal(resample.resample_label(classes, view), truth)
    assert (inside == 0).any() == turned


def test_short_sides_give_a_batch_the_largest_of_its_members():
    """The published sizes: 600 for the short side, no side over 1000, rounded up to 8."""
    settings = ShortSides((600,), longest=1000, divisor=8)
    batch = settings.batch([(480, 640), (300, 900), (500, 500)], np.random.RandomState(0))
    # 480x640 -> 600x800; 300x900 -> 333x1000 because of its long side; 500x500 -> 600x600
    assert batch == Batch((600, 1000), 600)
    image, classes = pair(300, 900)
    view = settings.view(classes, np.random.RandomState(0), batch)
    assert view.size == (333, 1000)
    assert resample.resample_label(classes, view).shape == (333, 1000)
    lengths = {
        ShortSides((300, 375, 450)).batch([(500, 600)], np.random.RandomState(seed)).short
        for seed in range(30)
    }
    assert lengths == {300, 375, 450}


def test_short_sides_average_when_they_shrink():
    """As Pillow does in the original: a fine chessboard becomes grey."""
    board = (np.indices((400, 400)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    settings = ShortSides((100,), flip=0)
    batch = settings.batch([(400, 400)], np.random.RandomState(0))
    view = settings.view(label(400, 400), np.random.RandomState(0), batch)
    assert abs(resample.resample_image(board, view) - 127.5).max() < 40


def test_read_only_views_of_files_will_do():
    image, classes = pair(60, 80)
    image.flags.writeable = classes.flags.writeable = False
    for settings in (ScaleCrop((32, 32)), ResizeCrop((20, 20), (40, 40)), ShortSides((30,))):
        batch = Batch((32, 64), 30)
        view = settings.view(classes, np.random.RandomState(1), batch)
        window = resample.resample_image(image, view)
        assert transforms.distort(window, np.random.RandomState(2)).shape == window.shape
        assert resample.resample_label(classes, view).shape == window.shape[:2]


def test_settings_come_from_the_config():
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
    turned = augmentations.create({**resized, 'rotation': 5.0, 'interpolation': 'linear'})
    assert turned == ResizeCrop((64, 128), (96, 192), rotation=5, interpolation='linear')
    based = augmentations.create({**crop, 'base_size': [512, 2048]})
    assert based == ScaleCrop((64, 128), base=(512, 2048))


@pytest.mark.parametrize(
    'config, message',
    [
        ({'augmentation': 'crop'}, 'must be scale_crop, resize_crop or short_sides'),
        ({'image_height': 64}, 'scale_crop needs image_width too'),
        ({'augmentation': 'short_sides'}, 'short_sides needs short_sides too'),
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
def test_settings_that_cannot_be(config, message):
    with pytest.raises(UserError, match=message):
        augmentations.create(config)
