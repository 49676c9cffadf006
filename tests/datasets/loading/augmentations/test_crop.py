"""The base of augmentations that crop."""

import numpy as np

from datasets.loading.augmentations import ResizeCrop, ScaleCrop
from datasets.loading.transforms import Batch


def test_all_batches_have_the_size_of_the_crops_and_draw_nothing():
    for transform in (ScaleCrop((64, 128)), ResizeCrop((64, 128), (96, 192))):
        assert not transform.by_aspect
        assert transform.batch([], None) == transform.largest() == Batch((64, 128))
        view = transform.view(
            np.zeros((300, 400), np.uint8), np.random.RandomState(0), Batch((1, 1))
        )
        assert (view.height, view.width) == (64, 128)
