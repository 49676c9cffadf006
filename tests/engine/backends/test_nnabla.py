"""NNabla as a backend: its cached graphs, one for each of the most recent sizes."""

import numpy as np
import pytest

from engine.backends.base import MIN_CACHED_SHAPES
from engine.backends.nnabla import NnablaBackend
from engine.inference import predictor
from support import stand_ins
from support.backend_runs import random_input


def test_graphs_of_the_most_recent_sizes_are_cached():
    built = []
    made = predictor.Predictor(stand_ins.tiny(), on_new_size=lambda: built.append(1))
    sizes = [(32, 32 + 4 * i) for i in range(MIN_CACHED_SHAPES)]
    for _ in range(3):
        for size in sizes:
            made.labels(stand_ins.image(*size))
    assert len(built) == MIN_CACHED_SHAPES
    made.labels(stand_ins.image(80, 80))
    made.labels(stand_ins.image(*sizes[1]))
    assert len(built) == 1 + MIN_CACHED_SHAPES
    made.labels(stand_ins.image(*sizes[0]))  # the least recently used
    assert len(built) == 2 + MIN_CACHED_SHAPES


def test_weights_loaded_later_reach_cached_graphs(tiny):
    image = stand_ins.image(40, 40)
    before = tiny.logits(image).copy()
    stand_ins.randomize_parameters(seed=1)
    assert not np.array_equal(before, tiny.logits(image))


def test_the_expected_duration_is_proportional_to_the_pixels(tiny, small_parts, monkeypatch):
    large = random_input(tiny, 150, 97)
    shapes, run = [], NnablaBackend.run
    monkeypatch.setattr(
        NnablaBackend, 'run', lambda self, x: shapes.append(x.shape) or run(self, x)
    )
    made = NnablaBackend(tiny.network)
    assert made.expected_seconds(random_input(tiny, 24, 24)) == 0
    assert not shapes
    expected = made.expected_seconds(large)
    assert shapes == 2 * [(1, 3, 22, 17)]
    assert 0 < expected < 60
    wider = random_input(tiny, 300, 97)
    assert made.expected_seconds(wider) == pytest.approx(2 * expected)
    assert len(shapes) == 2
