"""scale_crop: the published draws, sizes and pixels, and crops in which no class dominates."""

import numpy as np
import pytest

from benchmarks import loading_baseline
from datasets.loading import resample
from datasets.loading.augmentations import ScaleCrop
from datasets.loading.transforms import Batch
from support.noise_images import label, pair


@pytest.mark.parametrize('size', [(128, 256), (200, 160), (97, 131)])
def test_scale_crop_equals_the_published_pipeline(size):
    """Draws, labels and padding are equal; images of noise differ by at most one level."""
    settings = ScaleCrop((64, 128), distort=False)
    for seed in range(12):
        image, classes = pair(*size, seed)
        rng, other = np.random.RandomState(seed), np.random.RandomState(seed)
        expected, truth = loading_baseline.augmented(
            image, classes, settings, rng, (0, 0, 0), (1, 1, 1)
        )
        view = settings.view(classes, other, Batch(settings.size))
        window = resample.resample_image(image, view)
        cropped = resample.resample_label(classes, view)
        height, width = cropped.shape
        assert (height, width) == window.shape[:2]
        assert np.array_equal(
            np.where(cropped == 255, -1, cropped.astype(int)), truth[0, :height, :width]
        )
        assert (truth[0, height:] == -1).all()
        difference = window[..., ::-1].transpose(2, 0, 1) - expected[:, :height, :width]
        assert abs(difference).max() <= 1
        assert rng.randint(1 << 30) == other.randint(1 << 30), 'the draws differ'


def test_a_crop_of_one_class_is_drawn_again():
    """The left half has one class, the right half two.

    All crops reach into the right half, except the few whose ten further draws failed.
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


@pytest.mark.parametrize('base', [(512, 2048), (2048, 512), (768, 1536)])
def test_a_base_size_scales_as_mmsegmentations_resize(base):
    """Resize(img_scale=base, ratio_range=(0.5, 2)) with keep_ratio, and mmcv's rescale_size."""
    settings = ScaleCrop((64, 64), base=base, category_ratio=1)
    for height, width in [(480, 640), (640, 427), (720, 960), (200, 2000), (333, 333)]:
        classes = label(height, width)
        for seed in range(10):
            ratio = np.random.RandomState(seed).random_sample() * 1.5 + 0.5
            scale = int(base[0] * ratio), int(base[1] * ratio)
            factor = min(max(scale) / max(height, width), min(scale) / min(height, width))
            expected = int(height * float(factor) + 0.5), int(width * float(factor) + 0.5)
            view = settings.view(classes, np.random.RandomState(seed), Batch((64, 64)))
            assert view.size == expected
