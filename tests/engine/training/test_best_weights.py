"""Which validation of a run is the best one, also where scores are undefined or below 0."""

import pytest

from engine.training.best_weights import BestWeights

WEIGHTS = {'depth': 1.0}


def report(score):
    return {'tasks': {}, 'score': score, 'score_weights': WEIGHTS}


@pytest.mark.parametrize(
    ('scores', 'best'),
    [
        ([-70.0, None, -80.0], 1),
        ([None, -70.0, None, -60.0, -65.0], 4),
        ([None, None], 1),
        ([10.0, 10.0], 1),
    ],
)
def test_an_undefined_score_is_never_better_than_a_defined_one(scores, best):
    weights = BestWeights()
    for iteration, score in enumerate(scores, 1):
        weights.is_beaten(report(score), iteration)
    assert weights.facts == {
        'score': scores[best - 1],
        'score_weights': WEIGHTS,
        'iteration': best,
    }


def test_scores_of_other_weights_are_not_compared():
    weights = BestWeights({'score': 90.0, 'score_weights': {'motion': 1.0}, 'iteration': 5})
    assert not weights.is_beaten(report(None), 6)
    assert weights.is_beaten(report(20.0), 7)
    single = BestWeights({'miou': 0, 'iteration': 1})
    assert not single.is_beaten({'miou': None}, 2)
    assert single.is_beaten({'miou': 3.0}, 3)
