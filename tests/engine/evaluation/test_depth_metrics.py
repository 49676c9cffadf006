"""Scores of depths against the original's golden values and against brute force."""

import json
import math
import random

import numpy as np
import pytest

from engine.distributed.processes import Processes
from engine.evaluation import depth_metrics
from engine.evaluation.task_evaluator import DepthEvaluator
from support import expected_depth


class Gathered(Processes):
    """A stand-in for a job whose other ranks have given rows."""

    def __init__(self, *others):
        super().__init__()
        self._others = others

    def gather(self, value):
        return [value, *self._others]


def maps(seed, shape=(13, 17), spread=0.6):
    """Return true depths, some unknown, and predictions, some of them negative."""
    rng = np.random.RandomState(seed)
    metres = rng.uniform(0.5, 90, shape)
    prediction = metres * np.exp(rng.randn(*shape) * spread)
    prediction[rng.rand(*shape) < 0.1] *= -1
    metres[rng.rand(*shape) < 0.3] = 0
    return metres.astype(np.float32), prediction.astype(np.float32)


def brute_force(pairs, limits=None):
    """Return the scores pixel by pixel, from their definitions."""
    sums, counts, pixels = [0.0] * 4, [0] * 3, 0
    for metres, prediction in pairs:
        for t, p in zip(metres.ravel().tolist(), prediction.ravel().tolist()):
            if t <= 0 or (limits and not limits[0] < t <= limits[1]):
                continue
            if limits:
                p = min(max(p, limits[0]), limits[1])
            pixels += 1
            sums[0] += abs(p - t) / t
            sums[1] += (p - t) ** 2 / t
            sums[2] += (p - t) ** 2
            p = max(p, 1e-3)
            sums[3] += (math.log(p) - math.log(t)) ** 2
            for k in range(3):
                counts[k] += max(p / t, t / p) < 1.25 ** (k + 1)
    means = [each / pixels for each in sums]
    return {
        'ard': 100 * means[0],
        'squared_relative': means[1],
        'rmse': math.sqrt(means[2]),
        'rmse_log': math.sqrt(means[3]),
        **{f'delta{k + 1}': 100 * counts[k] / pixels for k in range(3)},
    }


def test_scores_equal_the_original(shared):
    golden = json.loads((shared / 'reference_tasks' / 'losses_metrics.json').read_text())['depth']
    prediction, metres = expected_depth.golden_inputs(golden)
    counts = DepthEvaluator()
    for truth, predicted in zip(metres[:, 0], prediction[:, 0]):
        counts.process(truth, predicted)
    report, values = counts.report(None), golden['values']
    known = values['supervised_relative_error_x100']['value_float64']
    assert report['ard'] == pytest.approx(known, rel=1e-6)
    known = values['supervised_root_mean_squared_error']['value_float64']
    assert report['rmse'] == pytest.approx(known, rel=1e-6)
    assert report['pixels'] == golden['check']['valid']


def test_a_range_leaves_out_what_the_original_counts_as_zero(shared):
    """The original keeps pixels of at most 3 m in the mean, with an error of 0."""
    path = shared / 'reference_tasks' / 'losses_metrics.json'
    golden = json.loads(path.read_text())['evaluate_depth_absreldiff_rng3to80']
    metres = np.array([golden['target'][:4]], np.float32)
    prediction = np.array([golden['prediction'][:4]], np.float32)
    sums = depth_metrics.image_sums(metres, prediction, (3.0, 80.0))
    assert sums[0] == 2  # 8 and 40 m; 85 m is beyond the range
    assert sums[1] == pytest.approx(sum(golden['per_pixel']))


@pytest.mark.parametrize('limits', [None, (0.0, 80.0), (3.0, 20.0)])
def test_scores_equal_brute_force(limits):
    pairs = [maps(seed) for seed in range(3)]
    counts = DepthEvaluator(limits)
    for metres, prediction in pairs:
        counts.process(metres, prediction)
    report = counts.report(None)
    expected = brute_force(pairs, limits)
    assert {name: report[name] for name in expected} == pytest.approx(expected, rel=1e-9)
    single = [brute_force([pair], limits) for pair in pairs]
    means = {name: np.mean([each[name] for each in single]) for name in expected}
    assert report['image_means'] == pytest.approx(means, rel=1e-9)
    assert report['range'] == (list(limits) if limits else None)
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_order_and_sharding_do_not_change_a_bit():
    pairs = [maps(seed, spread=0.1 * seed) for seed in range(9)]
    whole = DepthEvaluator()
    for pair in pairs:
        whole.process(*pair)
    expected = whole.report(None)
    for seed in range(5):
        order = random.Random(seed).sample(pairs, len(pairs))
        own = DepthEvaluator()
        for pair in order[:4]:
            own.process(*pair)
        others = [[depth_metrics.image_sums(*pair)] for pair in order[4:]]
        own.add_up(Gathered(*others))
        assert own.report(None) == expected


def test_without_a_known_pixel_scores_are_null():
    counts = DepthEvaluator()
    counts.process(np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32))
    report = counts.report(None)
    assert report['pixels'] == 0
    assert report['ard'] is None
    assert set(report['image_means'].values()) == {None}
    assert DepthEvaluator().report(None)['rmse'] is None


def test_right_predictions_have_no_error():
    metres, _ = maps(0)
    counts = DepthEvaluator()
    counts.process(metres, metres)
    report = counts.report(None)
    assert (report['ard'], report['rmse'], report['delta1']) == (0, 0, 100)


@pytest.mark.parametrize('limits', [None, (0.0, 80.0)])
@pytest.mark.parametrize('odd', [math.nan, math.inf, -math.inf])
def test_a_prediction_that_is_not_finite_is_the_worst(odd, limits):
    """It counts, with a number that JSON can hold, wherever the limits are."""
    metres = np.array([[10, 79]], np.float32)
    prediction = metres.copy()
    good = depth_metrics.scores(depth_metrics.image_sums(metres, prediction, limits))
    prediction[0, 1] = odd
    counts = DepthEvaluator(limits)
    sums = counts.process(metres, prediction)
    bad = depth_metrics.scores(sums)
    assert bad.pixels == good.pixels == 2 and good.ard == 0
    assert bad.ard == pytest.approx((1e6 - 79) / 79 / 2)
    assert bad.deltas == (0.5, 0.5, 0.5)
    json.dumps(counts.report(None), allow_nan=False)
