"""Format the scores of an evaluation as text for a terminal."""

from typing import Any

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


def _number(value: float | None) -> str:
    return '-' if value is None else f'{value:.2f}'
