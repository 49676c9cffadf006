"""ADE20K32: background and the first 31 classes of ADE20K; no pixel is ignored."""

import numpy as np
import pytest
from PIL import Image

import datasets
from common.errors import InputError
from datasets.readers import ade20k, ade20k32


def test_31_classes_are_kept_and_the_others_are_background(shared):
    root = shared / 'data/samples/ADEChallengeData2016'
    dataset = datasets.open('ade20k32', root, 'trainval')
    kept = set()
    for index, sample in enumerate(dataset):
        values = np.asarray(Image.open(sample.label))
        assert np.array_equal(dataset.label(index), np.where(values >= 32, 0, values))
        kept |= set(np.unique(values).tolist())
    assert {0, 31 + 1} & kept  # a value that becomes background
    assert datasets.info('ade20k32').classes[:3] == ('background', 'wall', 'building')
    assert datasets.info('ade20k32').classes[31] == ade20k.INFO.classes[30]


def test_values_above_150_are_refused(tmp_path):
    Image.fromarray(np.array([[151]], np.uint8)).save(tmp_path / 'a.png')
    with pytest.raises(InputError, match='a.png: holds the values 151, which have no meaning'):
        ade20k32.decode(tmp_path / 'a.png')
