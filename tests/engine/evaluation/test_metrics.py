"""Scores equal brute force and the official Cityscapes scripts."""

import cv2
import numpy as np
import pytest

import datasets
from engine.evaluation import metrics
from support.random_maps import random_maps


def test_the_confusion_matrix_counts_pixel_by_pixel():
    labels, predictions = random_maps(5)
    expected = np.zeros((5, 5), int)
    for true, predicted in zip(labels.ravel(), predictions.ravel()):
        if true != 255:
            expected[true, predicted] += 1
    assert np.array_equal(metrics.confusion_matrix(labels, predictions, 5), expected)


@pytest.mark.parametrize('seed', range(4))
def test_scores_against_sets_of_pixels(seed):
    labels, predictions = random_maps(6, seed)
    valid = labels != 255
    result = metrics.scores(metrics.confusion_matrix(labels, predictions, 6))
    ious, accuracies, shares = [], [], []
    for index in range(6):
        true = {tuple(p) for p in np.argwhere((labels == index) & valid)}
        predicted = {tuple(p) for p in np.argwhere((predictions == index) & valid)}
        ious.append(len(true & predicted) / len(true | predicted))
        accuracies.append(len(true & predicted) / len(true))
        shares.append(len(true) / valid.sum())
    right = (labels == predictions)[valid].mean()
    assert result.iou == pytest.approx(ious)
    assert result.accuracy == pytest.approx(accuracies)
    assert result.miou == pytest.approx(np.mean(ious))
    assert result.mean_accuracy == pytest.approx(np.mean(accuracies))
    assert result.pixel_accuracy == pytest.approx(right)
    assert result.fwiou == pytest.approx(np.dot(ious, shares))
    assert result.overall == pytest.approx((np.mean(ious) + right) / 2)


def test_absent_classes_are_left_out_of_the_mean():
    """Class 0 is half found, class 1 predicted but not labelled, class 2 neither."""
    result = metrics.scores(np.array([[3, 3, 0], [0, 0, 0], [0, 0, 0]]))
    assert result.iou[:2] == pytest.approx([0.5, 0])
    assert np.isnan(result.iou[2])
    assert result.miou == pytest.approx(0.25)
    assert result.mean_accuracy == pytest.approx(0.5)


def test_scores_without_pixels_are_nan():
    result = metrics.scores(np.zeros((3, 3), int))
    assert np.isnan(result.miou)
    assert np.isnan(result.mean_accuracy)


def official_scores(pairs):
    """Return class and category IoU by cityscapesScripts of (prediction, labelIds) files."""
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official
    from cityscapesscripts.helpers import labels as names

    args = official.args
    args.evalInstLevelScore = args.evalPixelAccuracy = False
    matrix = official.generateMatrix(args)
    for prediction, truth in pairs:
        official.evaluatePair(str(prediction), str(truth), matrix, {}, {}, args)
    classes = {
        label.name: official.getIouScoreForLabel(label.id, matrix, args)
        for label in names.labels
        if label.trainId not in (255, -1)
    }
    categories = {
        name: official.getIouScoreForCategory(name, matrix, args) for name in names.category2labels
    }
    return classes, {n: iou for n, iou in categories.items() if not np.isnan(iou)}


@pytest.mark.parametrize('seed', range(2))
def test_class_and_category_iou_equal_cityscapes_scripts(shared, seed, tmp_path):
    """Real label pairs at a quarter of their size, with arbitrary predictions."""
    from cityscapesscripts.helpers.labels import trainId2label

    folder = shared / 'data' / 'samples' / 'cityscapes' / 'gtFine'
    to_id = np.array([trainId2label[i].id for i in range(19)], np.uint8)
    ours, pairs = np.zeros((19, 19), int), []
    for path in sorted(folder.glob('*/*/*_labelIds.png')):
        ids, labels = (
            cv2.imread(str(path).replace('labelIds', kind), cv2.IMREAD_UNCHANGED)[::4, ::4]
            for kind in ('labelIds', 'labelTrainIds')
        )
        rng = np.random.RandomState(seed)
        guesses = rng.randint(0, 19, (32, 64)).repeat(8, 0).repeat(8, 1)
        right = (labels < 19) & (rng.rand(*labels.shape) < 0.7)
        predictions = np.where(right, labels, guesses).astype(np.uint8)
        ours += metrics.confusion_matrix(labels, predictions, 19)
        pairs.append((tmp_path / path.name, tmp_path / f'truth_{path.name}'))
        cv2.imwrite(str(pairs[-1][0]), to_id[predictions])
        cv2.imwrite(str(pairs[-1][1]), ids)
    assert len(pairs) == 4
    classes, categories = official_scores(pairs)
    info = datasets.info('cityscapes')
    result = metrics.scores(ours)
    assert dict(zip(info.classes, result.iou)) == pytest.approx(classes, abs=1e-6, nan_ok=True)
    names, merged = metrics.merge(ours, info.categories)
    found = dict(zip(names, metrics.scores(merged).iou))
    assert found == pytest.approx(categories, abs=1e-6)
    assert len(found) == 7


def boundary_of(mask, distance):
    """Return pixels of the mask with other pixels within ``distance`` rows and columns."""
    height, width = mask.shape
    found = set()
    for row, column in np.argwhere(mask):
        rows, columns = (range(p - distance, p + distance + 1) for p in (row, column))
        outside = rows[0] < 0 or columns[0] < 0 or rows[-1] >= height or columns[-1] >= width
        if outside or not mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all():
            found.add((row, column))
    return found


@pytest.mark.parametrize('shape', [(40, 60), (100, 150)])
def test_boundary_counts_against_brute_force(shape):
    rng = np.random.RandomState(0)
    labels = rng.randint(0, 3, (5, 5)).astype(np.uint8).repeat(shape[0] // 5, 0)
    labels = labels.repeat(shape[1] // 5, 1)
    predictions = np.roll(labels, (3, 2), (0, 1))
    labels[5:15, 10:30] = 255
    distance = round(0.02 * float(np.hypot(*shape)))
    assert distance == (1 if shape[0] == 40 else 4)
    counts = metrics.boundary_counts(labels, predictions, 4)
    for index in range(3):
        true = boundary_of(labels == index, distance)
        predicted = boundary_of((predictions == index) & (labels != 255), distance)
        assert list(counts[index]) == [len(true & predicted), len(true | predicted)]
    assert list(counts[3]) == [0, 0]
    iou = metrics.boundary_iou(counts)
    assert 0 < iou[0] < 1
    assert np.isnan(iou[3])
    perfect = metrics.boundary_counts(labels, np.where(labels == 255, 0, labels), 4)
    assert metrics.boundary_iou(perfect)[:3] == pytest.approx([1, 1, 1])
