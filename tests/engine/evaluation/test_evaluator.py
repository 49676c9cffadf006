"""Counts, their sum over processes, and the report."""

import dataclasses
import json

import numpy as np
import pytest

import datasets
from common.errors import UserError
from engine.distributed.processes import Processes
from engine.evaluation import evaluator, score_table


class TwoProcesses(Processes):
    """A stand-in for a job of two ranks with equal counts."""

    def __init__(self):
        super().__init__()
        self.size = 2

    def total(self, array):
        return array * 2


@pytest.fixture
def info():
    colours = datasets.distinct_colours(4)
    return datasets.DatasetInfo(
        'test', ('a', 'b', 'c', 'd'), colours, categories=('x', 'y', 'y', 'z')
    )


def counted(**options):
    counts = evaluator.Evaluator(4, **options)
    labels = np.array([[0, 0, 1, 1], [2, 2, 2, 255]], np.uint8)
    predictions = np.array([[0, 1, 1, 2], [2, 2, 2, 0]], np.uint8)
    counts.process(labels, predictions)
    return counts


def test_more_classes_than_a_class_map_can_hold_are_refused():
    with pytest.raises(UserError, match='num_classes: must be at least 1 and at most 255, not 300'):
        evaluator.Evaluator(300)
    counts = evaluator.Evaluator(255)
    counts.process(np.array([[254, 255]], np.uint8), np.array([[254, 0]], np.uint8))
    assert counts.matrix[254, 254] == counts.matrix.sum() == 1


def test_the_report_is_in_percent_and_json(info):
    report = counted(boundary=True).report(info)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report['classes']['a'] == pytest.approx(
        {
            'iou': 50,
            'accuracy': 50,
            'share': 200 / 7,
            'precision': 100,
            'f1': 200 / 3,
            'boundary_iou': 50,
        }
    )
    assert report['classes']['d']['iou'] is None
    assert report['absent'] == ['d']
    assert report['miou'] == pytest.approx(100 * (1 / 2 + 1 / 3 + 3 / 4) / 3)
    assert report['pixel_accuracy'] == pytest.approx(500 / 7)
    assert report['categories'] == pytest.approx({'x': 50, 'y': 500 / 6, 'z': None})
    assert report['category_miou'] == pytest.approx((50 + 500 / 6) / 2)
    assert report['boundary_miou'] is not None
    assert report['images'] == 1
    assert report['mean_precision'] == pytest.approx(100 * (1 + 1 / 2 + 3 / 4) / 3)
    assert report['mean_f1'] == pytest.approx(100 * (2 / 3 + 1 / 2 + 6 / 7) / 3)
    assert report['confusion_matrix'] == [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 3, 0], [0, 0, 0, 0]]


def test_the_table_contains_classes_means_and_categories(info):
    text = score_table.format_table(counted().report(info))
    titles, *lines = text.split('\n\n')[0].splitlines()
    assert titles.split() == ['IoU', 'precision', 'accuracy', 'F1', 'share']
    rows = {line.split()[0]: line.split()[1:] for line in lines}
    assert rows['a'] == ['50.00', '100.00', '50.00', '66.67', '28.57']
    assert list(rows) == ['a', 'b', 'c']
    for part in (
        'mIoU',
        'mean precision',
        'mean F1 (Dice)',
        'category mIoU',
        'frequency-weighted IoU',
        'overall',
        'mean accuracy',
    ):
        assert part in text
    assert 'left out, as they are neither labelled nor predicted: 1 of 4 classes' in text
    assert ' 50.00  category x' in text
    assert 'category z' not in text
    assert 'boundary' not in text


def test_a_long_name_does_not_widen_the_table(info):
    long = dataclasses.replace(info, classes=('a' * 100, *info.classes[1:]))
    assert max(map(len, score_table.format_table(counted().report(long)).splitlines())) < 100


def test_ignored_labels_alone_have_no_scores(info, recwarn):
    counts = evaluator.Evaluator(4, boundary=True)
    counts.process(np.full((4, 4), 255, np.uint8), np.zeros((4, 4), np.uint8))
    report = counts.report(info)
    means = ('miou', 'pixel_accuracy', 'mean_accuracy', 'fwiou', 'overall', 'boundary_miou')
    assert [report[key] for key in means] == [None] * 6
    assert report['absent'] == list(info.classes)
    assert not recwarn
    assert '-  mIoU' in score_table.format_table(report)


def test_counts_of_shards_add_up(info):
    counts, one = counted(boundary=True), counted(boundary=True)
    counts.add_up(TwoProcesses())
    assert np.array_equal(counts.matrix, 2 * one.matrix)
    assert np.array_equal(counts.boundary, 2 * one.boundary)
    assert counts.report(info)['images'] == 2


def test_shards_are_disjoint_and_complete():
    def shard(rank, size):
        processes = Processes()
        processes.rank, processes.size = rank, size
        return list(processes.shard(7))

    assert shard(0, 1) == list(range(7))
    parts = [shard(rank, 3) for rank in range(3)]
    assert sorted(sum(parts, [])) == list(range(7))
