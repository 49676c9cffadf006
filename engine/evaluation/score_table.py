"""Format the scores of an evaluation as text for a terminal."""

from typing import Any

from common.tasks import CLASSES
from common.terminal import tables
from common.terminal.short_repr import short_text
from common.terminal.tables import Column

COLUMNS = {  # keys of a class in the report, with their titles
    'iou': 'IoU',
    'precision': 'precision',
    'accuracy': 'accuracy',
    'f1': 'F1',
    'share': 'share',
    'boundary_iou': 'boundary IoU',
}
MAX_NAME_CHARACTERS = 40  # of a class; reports in JSON have the whole names
MEANS = {  # keys of the report, with their names
    'miou': 'mIoU',
    'category_miou': 'category mIoU',
    'boundary_miou': 'boundary mIoU',
    'mean_precision': 'mean precision',
    'mean_accuracy': 'mean accuracy (recall)',
    'mean_f1': 'mean F1 (Dice)',
    'pixel_accuracy': 'pixel accuracy',
    'fwiou': 'frequency-weighted IoU',
    'overall': 'overall (mean of mIoU and pixel accuracy)',
}
DEPTH_SCORES = {  # keys of the report of a depth task, with their names
    'ard': 'absolute relative difference (ARD), %',
    'squared_relative': 'squared relative difference, m',
    'rmse': 'root mean square error, m',
    'rmse_log': 'root mean square error of the logarithms',
    'delta1': 'within a factor of 1.25, %',
    'delta2': 'within a factor of 1.25^2, %',
    'delta3': 'within a factor of 1.25^3, %',
}


def format_table(report: dict[str, Any]) -> str:
    """Format a report as text: a line for each class that occurs, then the means.

    Args:
        report: Result of :meth:`engine.evaluation.evaluator.Evaluator.report`.
    """
    keys = [key for key in COLUMNS if key != 'boundary_iou' or 'boundary_miou' in report]
    absent = set(report['absent'])
    lines = tables.lines(
        [Column(), *(Column(COLUMNS[key], 9, right=True) for key in keys)],
        [
            [short_text(name, MAX_NAME_CHARACTERS), *(_number(values[key]) for key in keys)]
            for name, values in report['classes'].items()
            if name not in absent
        ],
    )
    lines.append('')
    rows = [[_number(report[key]), name] for key, name in MEANS.items() if key in report]
    categories = report.get('categories', {}).items()
    rows += [[_number(iou), f'category {name}'] for name, iou in categories if iou is not None]
    lines += tables.lines([Column(width=7, right=True), Column()], rows)
    if absent:
        count = f'{len(absent)} of {len(report["classes"])}'
        lines.append(f'left out, as they are neither labelled nor predicted: {count} classes')
    return '\n'.join(lines)


def format_tasks(report: dict[str, Any]) -> str:
    """Format a report of several tasks as text: the table of each under its name.

    Args:
        report: Result of :meth:`engine.evaluation.task_evaluator.TaskEvaluator.report`.
    """
    blocks = []
    for name, own in report['tasks'].items():
        table = format_table(own) if own['kind'] == CLASSES else _depth_table(own)
        blocks.append(f'{name}\n{table}')
    return '\n\n'.join(blocks)


def _depth_table(report: dict[str, Any]) -> str:
    """Format the scores of a depth task: over all pixels, and their mean over images."""
    limits = report['range']
    counted = 'all known depths' if limits is None else f'{limits[0]:g} to {limits[1]:g} m'
    means = report['image_means']
    rows = [[_depth(report[key]), _depth(means[key]), name] for key, name in DEPTH_SCORES.items()]
    columns = [Column('pixels', 7, right=True), Column('images', 7, right=True), Column()]
    note = f'means over {report["pixels"]} pixels, and of the scores of images ({counted})'
    return '\n'.join([*tables.lines(columns, rows), note])


def _depth(value: float | None) -> str:
    return '-' if value is None else f'{value:.4g}'


def _number(value: float | None) -> str:
    return '-' if value is None else f'{value:.2f}'
