"""The timed pipeline computes the class indices of the predictor."""

import nnabla as nn
import numpy as np
import pytest

import models
from benchmarks import pipeline
from datasets import image_files
from engine.inference.predictor import Predictor
from support import stand_ins

pytestmark = pytest.mark.bench


def test_classes_are_equal_when_the_image_stays_on_the_device(tmp_path):
    """The seconds of the network alone are measured then, too."""
    network, image = stand_ins.tiny(), stand_ins.image(64, 96)
    network(nn.Variable((1, 3, 64, 96)))
    models.weights.save(tmp_path / 'weights.h5')
    image_files.write_image(tmp_path / 'image.png', image)
    task = pipeline.PipelineTask(
        {'network': 'd3net', **stand_ins.TINY}, tmp_path / 'weights.h5', tmp_path / 'image.png',
        tmp_path / 'input.npy', (64, 96), 'cpu', 1,
    )  # fmt: skip
    contestant = pipeline.Pipeline(task, 'nnabla', 'float32', tmp_path)
    expected, seconds = contestant.classes(image)
    assert seconds > 0 and len(np.unique(expected)) > 1
    contestant.stay_on_device()
    found, seconds = contestant.classes(image)
    assert seconds is None
    np.testing.assert_array_equal(found, expected)
    device, whole = contestant.run()
    assert device > 0 and whole > 0


def test_class_indices_equal_the_predictors(monkeypatch):
    """The pipeline resizes in one band of rows, and in one band for each row."""
    network = stand_ins.tiny()
    predictor = Predictor(network)
    stand_ins.randomize_parameters()
    image = stand_ins.image(48, 64)
    expected = predictor.labels(image)
    x = nn.Variable.from_numpy_array(pipeline.predictor.normalise(image, network.info)[None])
    maps = network(x)[0]
    maps.forward()
    for band in (1, 1 << 20):
        monkeypatch.setattr(pipeline, 'RESIZED_VALUES_PER_BAND', band)
        np.testing.assert_array_equal(pipeline.class_indices(maps.d[0], (48, 64)), expected)
