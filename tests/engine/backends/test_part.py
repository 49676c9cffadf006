"""The part that stands for a large input has a size with the same remainders."""

import numpy as np
import pytest

import models
from engine.backends.part import middle_part


@pytest.mark.parametrize(
    'network, whole, expected',
    [
        ('d3net_s', (400, 20000), (272, 288)),
        ('d3net_s', (401, 20031), (273, 319)),
        ('d3net_s', (2000, 100), (272, 100)),  # a short side stays whole
        ('ddrnet23_slim', (1024, 2048), (256, 256)),
        ('dabnet_r18_p16', (2048, 4096), (512, 512)),  # divisible by 512
    ],
)
def test_sizes(network, whole, expected):
    x = np.broadcast_to(np.float32(0), (2, 3, *whole))
    info = models.create(network).info
    assert middle_part(x, info).shape == (2, 3, *expected)
    for side, full in zip(expected, whole):
        assert side % 64 == full % 64 or side == full


@pytest.mark.parametrize('whole', [(256, 256), (400, 400), (512, 500), (100, 1000)])
def test_an_input_of_a_few_parts_is_not_large(whole):
    assert middle_part(np.zeros((1, 3, *whole), np.float32), models.create('d3net_s').info) is None


def test_it_is_the_middle():
    x = np.arange(1000, dtype=np.float32) + np.zeros((1, 3, 1000, 1), np.float32)
    part = middle_part(x, models.create('d3net_s').info)
    assert part.shape == (1, 3, 296, 296)
    assert part[0, 0, 0, 0] == 352 and part[0, 0, 0, -1] == 647
