"""Decode and check the facts of a training state: everything that is no array.

The digest of a state proves that the file is whole, not who wrote it: nothing in it is trusted.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from common.errors import UserError
from common.reading import json_text
from common.reading.json_text import is_count, is_number

MAX_COUNT = 2**53  # of iterations, samples and processes
MAX_SEED = 2**32 - 1  # the largest seed that NumPy's generators accept


def decode(content: bytes, name: str) -> dict[str, Any]:
    """Return the value of a JSON object, in which NaN and infinity are left to :func:`check`.

    Raises:
        ValueError: The content is not JSON, or no object; the message begins with the name.
    """
    try:
        return json_text.parse(content, name, dict, constants=True)
    except UserError as error:
        raise ValueError(str(error)) from error


def check(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the facts of a state if each has the type and the range that a training writes.

    Raises:
        ValueError: A fact is missing, unknown or of another type; the message names it.
    """
    for name, (is_valid, what) in _FACTS.items():
        if name not in facts:
            if name not in OPTIONAL:
                raise ValueError(f'{name} is missing')
        elif not _is_finite(facts[name]):
            raise ValueError(f'{name} has NaN or infinity')
        elif not is_valid(facts[name]):
            raise ValueError(f'{name} is not {what}')
    unknown = [name for name in facts if name not in _FACTS]
    if unknown:
        raise ValueError(f'{ascii(unknown[0])} is no fact of a state')
    return facts


def check_names(names: dict[str, Any], groups: tuple[str, ...]) -> dict[str, list[str] | None]:
    """Return the names of the arrays of each group; None for an absent group.

    Raises:
        ValueError: A group is missing or unknown, or its names are not distinct texts.
    """
    if set(names) != set(groups):
        raise ValueError(f'its names are not those of {", ".join(groups)}')
    for group, each in names.items():
        if each is not None and not (
            isinstance(each, list)
            and all(isinstance(name, str) for name in each)
            and len(set(each)) == len(each)
        ):
            raise ValueError(f'the names of {group} are not distinct texts')
    return names


def _is_finite(value: Any) -> bool:
    """Return whether all numbers in a JSON value are finite."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def _count(least: int = 0, most: int = MAX_COUNT) -> Callable[[Any], bool]:
    return lambda value: is_count(value, least, most)


def _is_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and (value.isprintable() or not value)


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict)


def _is_loss_scale(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and set(value) >= {'factor', 'good_steps'}
        and is_number(value['factor'])
        and value['factor'] > 0
        and is_count(value['good_steps'])
    )


def _is_best(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and (is_number(value.get('miou')) or _is_score(value))
        and is_count(value.get('iteration'))
    )


def _is_score(best: dict[str, Any]) -> bool:
    """Return whether the best weights have a score of several tasks, None if it is undefined."""
    return 'score' in best and (best['score'] is None or is_number(best['score']))


def _is_extras(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and is_number(value.get('seconds', 0))
        and isinstance(value.get('pending', []), list)
        and all(
            isinstance(step, list) and len(step) == 4 and all(map(is_number, step))
            for step in value.get('pending', [])
        )
        and _is_table(value.get('pending_tasks', []))
    )


def _is_table(value: Any) -> bool:
    """Return whether a value is a list of lists of numbers, all of the same length."""
    return (
        isinstance(value, list)
        and all(isinstance(row, list) and all(map(is_number, row)) for row in value)
        and len({len(row) for row in value}) <= 1
    )


def _is_task_scales(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and set(value) == {'scales', 'norms', 'short', 'long'}
        and all(isinstance(each, list) and all(map(is_number, each)) for each in value.values())
        and all(scale > 0 for scale in value['scales'])
        and len(value['scales']) == len(value['short']) == len(value['long']) > 0
        and len(value['norms']) in (0, len(value['scales']))
    )


OPTIONAL = {'name', 'extras', 'scaled', 'task_scales'}  # older states lack them
_FACTS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    'iteration': (_count(), 'a number of iterations'),
    'loader': (_is_dict, 'a JSON object'),
    'loss_scale': (_is_loss_scale, 'a finite factor above 0 and a number of good_steps'),
    'best': (_is_best, 'a miou or score and an iteration'),
    'seed': (_count(most=MAX_SEED), f'a whole number from 0 to {MAX_SEED}'),
    'config': (_is_dict, 'a JSON object'),
    'processes': (_count(1), 'a number of processes'),
    'options': (_is_texts, 'a JSON object of texts'),
    'versions': (_is_texts, 'a JSON object of texts'),
    'name': (_is_name, 'a name'),
    'extras': (_is_extras, 'a JSON object with seconds and pending, lists of four numbers'),
    'scaled': (lambda value: isinstance(value, bool), 'true or false'),
    'task_scales': (_is_task_scales, 'scales and averages of the same number of tasks'),
}
