"""The table of every image, and the sheet of the worst ones."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

import datasets
from engine.distributed.processes import Processes
from engine.evaluation import metrics
from engine.evaluation.evaluator import ImageResult
from engine.evaluation.per_image import ImageScores
from engine.evaluation.worst_images import WorstImages
from support import stand_ins
from support.random_maps import random_maps

COUNT, CLASSES = 6, ('a', 'b', 'c')
UNLABELLED = 3  # index of an image without labelled pixels


class Gathered(Processes):
    """A stand-in for a job whose other ranks have given values."""

    def __init__(self, *others):
        super().__init__()
        self._others = others

    def gather(self, value):
        return [value, *self._others]


@pytest.fixture
def dataset():
    samples = tuple(
        datasets.Sample(f'way/=im"a,ge{i}', Path(f'/data/{i}.png'), None) for i in range(COUNT)
    )
    info = datasets.DatasetInfo('test', CLASSES, datasets.distinct_colours(3))
    return datasets.Dataset(info, 'val', samples, None)


def results():
    """Return a result for each image; two are equally bad, one has no labelled pixels."""
    found = []
    for index in range(COUNT):
        labels, predictions = random_maps(3, seed=0 if index < 2 else index, shape=(20, 30))
        predictions[:index] = labels[:index] % 255
        if index == 1:
            predictions = found[0].predictions.copy()
        if index == UNLABELLED:
            labels[:] = 255
        matrix = metrics.confusion_matrix(labels, predictions, 3)
        image = stand_ins.image(20, 30, index)
        found.append(ImageResult(index, image, labels, predictions, matrix))
    return found


def consumed(consumer, shard):
    for result in shard:
        consumer(result)
    return consumer


def rows_of(path):
    with open(path, newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


def test_the_worst_image_is_first_and_images_without_labels_last(dataset, tmp_path):
    consumed(ImageScores(), results()).write(tmp_path / 'a.csv', dataset)
    rows = rows_of(tmp_path / 'a.csv')
    mious = [float(row['miou']) for row in rows[:-1]]
    assert mious == sorted(mious)
    assert [row['name'] for row in rows].index(dataset[0].name) == 0
    assert rows[-1]['name'] == dataset[UNLABELLED].name
    assert (rows[-1]['miou'], rows[-1]['iou a'], rows[-1]['pixels']) == ('', '', '0')
    by_name = {row['name']: row for row in rows}
    for result in results():
        if result.index == UNLABELLED:
            continue
        sample, row = dataset[result.index], by_name[dataset[result.index].name]
        expected = metrics.scores(result.matrix)
        for name, value in (
            ('miou', expected.miou),
            ('mean_f1', expected.mean_f1),
            ('mean_precision', expected.mean_precision),
            ('mean_accuracy', expected.mean_accuracy),
            ('pixel_accuracy', expected.pixel_accuracy),
            *((f'iou {c}', value) for c, value in zip(CLASSES, expected.iou)),
        ):
            assert float(row[name]) == pytest.approx(100 * value, abs=1e-4), name
        assert int(row['pixels']) == (result.labels != 255).sum()
        assert row['image'] == str(sample.image)


def test_names_of_any_kind_make_a_table_with_a_line_for_each_image(dataset, tmp_path):
    """Spreadsheets would compute a name such as =1+1; ./ before it names the same file."""
    names = ('a\rb', 'c\nd', '=1+1', '-2', 'e,"f"', '\udcff')
    samples = tuple(datasets.Sample(name, Path(f'{name}.png'), None) for name in names)
    info = datasets.DatasetInfo('test', ('=a', 'b\rc', 'd,e'), dataset.info.palette)
    consumed(ImageScores(), results()).write(
        tmp_path / 'a.csv', datasets.Dataset(info, 'val', samples, None)
    )
    rows = rows_of(tmp_path / 'a.csv')
    shown = {'a\\rb', 'c\\nd', './=1+1', './-2', 'e,"f"', '\\udcff'}
    assert {row['name'] for row in rows} == shown
    assert {row['image'] for row in rows} == {f'{name}.png' for name in shown}
    assert list(rows[0])[-3:] == ['iou =a', 'iou b\\rc', 'iou d,e']
    assert (tmp_path / 'a.csv').read_bytes().count(b'\n') == 1 + COUNT


def test_neither_table_nor_sheet_depends_on_the_processes(dataset, tmp_path):
    for size in (1, 2, 3):
        tables = [consumed(ImageScores(), results()[rank::size]) for rank in range(size)]
        tables[0].add_up(Gathered(*(table._counts for table in tables[1:])))
        tables[0].write(tmp_path / f'{size}.csv', dataset)
        sheets = [consumed(WorstImages(dataset, 3), results()[rank::size]) for rank in range(size)]
        sheets[0].add_up(Gathered(*(sheet._entries for sheet in sheets[1:])))
        assert len(sheets[0]) == 3
        sheets[0].write(tmp_path / f'{size}.png')
        for ending in ('csv', 'png'):
            one, own = (tmp_path / f'{number}.{ending}' for number in (1, size))
            assert own.read_bytes() == one.read_bytes()


def test_the_sheet_shows_the_images_at_the_head_of_the_table(dataset, tmp_path):
    consumed(ImageScores(), results()).write(tmp_path / 'a.csv', dataset)
    names = [row['name'] for row in rows_of(tmp_path / 'a.csv')]
    worst = consumed(WorstImages(dataset, 2), reversed(results()))
    assert [dataset[entry.index].name for entry in worst._entries] == names[:2]
    worst.write(tmp_path / 'a.png')
    sheet = cv2.imread(str(tmp_path / 'a.png'))
    for entry in worst._entries:
        image = results()[entry.index].image
        found = cv2.matchTemplate(sheet, image, cv2.TM_SQDIFF)
        assert found.min() < 100, 'the image is on the sheet'  # in float32, of millions elsewhere


def test_a_long_name_makes_no_sheet_wider_than_its_panels(dataset, tmp_path):
    """A line break in it would cut the title."""
    samples = (datasets.Sample('line\n' + 'x' * 3000, Path('/data/0.png'), None),)
    named = datasets.Dataset(dataset.info, 'val', samples, None)
    consumed(WorstImages(named, 1), results()[:1]).write(tmp_path / 'a.png')
    assert cv2.imread(str(tmp_path / 'a.png')).shape[1] < 2000


def test_images_without_scores_are_on_no_sheet(dataset):
    worst = consumed(WorstImages(dataset, 100), results())
    assert len(worst) == COUNT - 1
    assert np.isfinite([entry.score for entry in worst._entries]).all()
