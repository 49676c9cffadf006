"""The scores of a validation as a run records them: its entry, its series, and its line in the log.

A report of several tasks has ``tasks`` and ``score``; that of one task has the scores themselves.
"""

from collections.abc import Mapping
from typing import Any

from common.reading.json_text import is_count, is_number
from common.tasks import CLASSES, DEPTH, kind_of

ORIGIN_KEYS = ('images', 'settings', 'origin')  # what scores were computed from
MAX_COUNT = 2**53  # iterations; floats hold whole numbers exactly up to here
# The scores of a depth task in reports; the last three are shares of right pixels.
DEPTH_SCORES = ('ard', 'squared_relative', 'rmse', 'rmse_log', 'delta1', 'delta2', 'delta3')
# For each kind of tasks the key of its main score in reports, and its name.
MAIN_SCORES = {CLASSES: ('miou', 'mIoU'), DEPTH: ('ard', 'ARD')}


def entry_of(iteration: int, report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry of a validation in the list of all validations.

    Args:
        iteration: Number of completed iterations.
        report: Report of ``engine.evaluation``.
    """
    if 'tasks' in report:
        scores: dict[str, Any] = {
            'score': report['score'],
            'score_weights': report['score_weights'],
            'tasks': {name: _scores_of(own) for name, own in report['tasks'].items()},
        }
    else:
        scores = _scores_of(report)
    origin = {key: report[key] for key in ORIGIN_KEYS if key in report}
    return {'iteration': iteration, **scores, **origin}


def series_of(report: Mapping[str, Any]) -> dict[str, float]:
    """Return the defined scores that have a series of their own, by the series' name.

    They are the mIoU, or of several tasks ``score`` and for each task its mIoU or ARD in percent.
    """
    if 'tasks' not in report:
        found = {'Validation mIoU': report['miou']}
    else:
        tasks = report['tasks'].items()
        found = {'Validation score': report['score']}
        found |= {series_name(name): own[main_score(name)[0]] for name, own in tasks}
    return {name: score for name, score in found.items() if score is not None}


def series_name(task: str) -> str:
    """Return the name of the series of a task's main score."""
    return f'Validation {task}'


def scalars_of(report: Mapping[str, Any]) -> dict[str, float]:
    """Return the defined scores for TensorBoard by tag."""
    if 'tasks' not in report:
        return _scalars(report, 'val')
    found = {} if report['score'] is None else {'val/score': report['score']}
    for name, own in report['tasks'].items():
        found |= _scalars(own, f'val/{name}')
    return found


def words_of(report: Mapping[str, Any]) -> str:
    """Return the main scores as text."""
    if 'tasks' not in report:
        accuracy = percent(report['pixel_accuracy'])
        return f'mIoU {percent(report["miou"])} | pixel accuracy {accuracy}'
    parts = [f'score {percent(report["score"])}']
    for name, own in report['tasks'].items():
        key, words = main_score(name)
        parts.append(f'{name} {words} {percent(own[key])}')
    return ' | '.join(parts)


def main_score(task: str) -> tuple[str, str]:
    """Return the key of the main score of a task in its report, and its name."""
    return MAIN_SCORES[kind_of(task)]


def percent(value: float | None) -> str:
    """Return a number as a percentage; a dash for None."""
    return '-' if value is None else f'{value:.2f} %'


def is_entry(entry: Any) -> bool:
    """Return whether a value has the form of an :func:`entry_of`."""
    if not (
        isinstance(entry, dict)
        and is_count(entry.get('iteration'), most=MAX_COUNT)
        and isinstance(entry.get('origin', ''), str)
    ):
        return False
    if 'tasks' not in entry:
        return _are_scores(entry)
    tasks = entry['tasks']
    return (
        'score' in entry
        and _is_score(entry['score'])
        and isinstance(tasks, dict)
        and len(tasks) > 0
        and all(isinstance(own, dict) and _are_scores(own) for own in tasks.values())
    )


def is_depth(report: Mapping[str, Any]) -> bool:
    """Return whether a report, or an entry, has the scores of a depth task."""
    return MAIN_SCORES[DEPTH][0] in report


def _scores_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores of one task that a run keeps."""
    if is_depth(report):
        return {name: report[name] for name in DEPTH_SCORES}
    return {
        'miou': report['miou'],
        'pixel_accuracy': report['pixel_accuracy'],
        'classes': {name: values['iou'] for name, values in report['classes'].items()},
    }


def _scalars(report: Mapping[str, Any], prefix: str) -> dict[str, float]:
    if is_depth(report):
        found = {f'{prefix}/{name}': report[name] for name in DEPTH_SCORES}
    else:
        found = {f'{prefix}/{name}': report[name] for name in ('miou', 'pixel_accuracy')}
        classes = report['classes'].items()
        found |= {f'{prefix}/iou/{name}': values['iou'] for name, values in classes}
    return {tag: score for tag, score in found.items() if score is not None}


def _are_scores(scores: Mapping[str, Any]) -> bool:
    if is_depth(scores):
        return set(DEPTH_SCORES) <= scores.keys() and all(
            _is_score(scores[name]) for name in DEPTH_SCORES
        )
    return (
        isinstance(scores.get('classes'), dict)
        and {'miou', 'pixel_accuracy'} <= scores.keys()
        and all(map(_is_score, (scores['miou'], scores['pixel_accuracy'])))
        and all(map(_is_score, scores['classes'].values()))
    )


def _is_score(value: Any) -> bool:
    """Return whether a value is a number, or None for a score that is undefined."""
    return value is None or is_number(value)
