"""Scores equal those of scikit-learn."""

import numpy as np
import pytest

from engine.evaluation import metrics
from support import programs
from support.random_maps import random_maps


def with_absent(labels, predictions):
    """Class 4 is predicted but never labelled, class 5 labelled but never predicted, 6 neither."""
    labels[labels == 4] = 0
    predictions[predictions == 5] = 1
    labels[labels == 6], predictions[predictions == 6] = 2, 2
    return labels, predictions


MAPS = {  # number of classes, labels, predictions
    'random': (6, *random_maps(6)),
    'absent classes': (7, *with_absent(*random_maps(7, 1))),
    'half ignored': (6, *random_maps(6, 2, ignored=0.5)),
    'one class': (1, *random_maps(1, 3)),
    'one pixel': (3, *random_maps(3, 4, shape=(1, 1), ignored=0)),
    'all wrong': (2, np.zeros((4, 4), np.uint8), np.ones((4, 4), np.uint8)),
}


@programs.needs_scikit_learn
@pytest.mark.filterwarnings('ignore:A single label was found')
@pytest.mark.parametrize('name', MAPS)
def test_scores_equal_those_of_scikit_learn(name):
    """Its macro averages are over the classes that occur, as the means here."""
    from sklearn import metrics as theirs

    count, labels, predictions = MAPS[name]
    valid = labels != 255
    pair = labels[valid], predictions[valid]
    matrix = metrics.confusion_matrix(labels, predictions, count)
    assert np.array_equal(matrix, theirs.confusion_matrix(*pair, labels=range(count)))
    ours, occur = metrics.scores(matrix), np.union1d(*pair)
    for mean, values, score in (
        (ours.mean_precision, ours.precision, theirs.precision_score),
        (ours.mean_f1, ours.f1, theirs.f1_score),
        (ours.miou, ours.iou, theirs.jaccard_score),
    ):
        words = dict(average=None, labels=occur, zero_division=0)
        assert values[occur] == pytest.approx(score(*pair, **words), abs=1e-12)
        assert np.isnan(np.delete(values, occur)).all()
        assert mean == pytest.approx(score(*pair, average='macro', zero_division=0), abs=1e-12)
    labelled = np.unique(pair[0])
    recall = theirs.recall_score(*pair, average=None, labels=labelled, zero_division=0)
    assert ours.accuracy[labelled] == pytest.approx(recall, abs=1e-12)
    assert ours.mean_accuracy == pytest.approx(recall.mean(), abs=1e-12)
    assert ours.pixel_accuracy == pytest.approx(theirs.accuracy_score(*pair), abs=1e-12)
