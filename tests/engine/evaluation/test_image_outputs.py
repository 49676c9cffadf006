"""Files for test servers."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import datasets
from common.errors import UserError
from engine.evaluation import image_outputs
from engine.evaluation.evaluator import ImageResult

LABELS = np.array([[0, 1, 15], [20, 7, 2]], np.uint8)


def written(name, image, folder):
    info = datasets.info(name)
    sample = datasets.Sample('a/b', Path(image), None)
    dataset = datasets.Dataset(info, 'test', (sample,), datasets.reader(name).decode)
    output = image_outputs.submission(dataset, folder)
    output.write(output.target(0), ImageResult(0, None, None, LABELS, None))
    (path,) = folder.rglob('*.png')
    return path


def test_voc_requires_indices_with_its_palette(tmp_path):
    path = written('voc', 'JPEGImages/2008_000001.jpg', tmp_path)
    assert path.name == '2008_000001.png'
    with Image.open(path) as image:
        assert image.mode == 'P'
        assert np.array_equal(np.asarray(image), LABELS)
        assert image.convert('RGB').getpixel((1, 0)) == (128, 0, 0)  # aeroplane


def test_ade20k_counts_from_one_in_grey(tmp_path):
    path = written('ade20k', 'images/testing/ADE_test_00000001.jpg', tmp_path)
    assert path.name == 'ADE_test_00000001.png'
    with Image.open(path) as image:
        assert image.mode == 'L'
        assert np.array_equal(np.asarray(image), LABELS + 1)


def test_a_data_set_without_a_test_server_is_refused(tmp_path):
    info = datasets.info('camvid')
    dataset = datasets.Dataset(info, 'test', (), datasets.reader('camvid').decode)
    with pytest.raises(UserError, match='camvid has no test server'):
        image_outputs.submission(dataset, tmp_path)


@pytest.mark.parametrize('name', ['../a', '/tmp/a', 'a/../../b', 'a\0b'])
def test_results_stay_in_their_folder(name, tmp_path):
    """A packed data set, for one, has the names that its index says."""
    info = datasets.info('camvid')
    dataset = datasets.Dataset(info, 'test', (datasets.Sample(name, Path('a.png'), None),), None)
    for writer in (image_outputs.class_indices, image_outputs.pictures):
        with pytest.raises(UserError, match='would not be in .*; rename the image'):
            writer(dataset, tmp_path).target(0)
