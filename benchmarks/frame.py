"""The frame of every benchmark: contestants take turns, so that a noisy machine is noisy for all of
them.
"""

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from common import machine, tables
from common.files import replacing
from common.tables import Column

COLUMNS = (
    Column(),
    Column('median ms', 10, right=True),
    Column('fastest', 10, right=True, before=' '),
    Column('slowest', 10, right=True, before=' '),
    Column('speed', 6, right=True),
)


@dataclass(frozen=True)
class Result:
    """Times of one contestant, in milliseconds, and its speed as a multiple of the first
    contestant's.
    """

    name: str
    median_ms: float
    fastest_ms: float
    slowest_ms: float
    ratio: float
    details: Mapping[str, float | None] = field(
        default_factory=dict
    )  # further columns of the table


def compare(
    contestants: Mapping[str, Callable[[], Any]],
    rounds: int,
    warm_up: int = 1,
    own_clock: bool = False,
) -> list[Result]:
    """Run every contestant once a round, ``warm_up`` rounds untimed; the ratio is the median over
    the rounds.

    own_clock: the contestants return the seconds that count, as they have preparations to make.
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(-warm_up, rounds):
        for name, run in contestants.items():
            started = time.perf_counter()
            own = run()
            seconds = own if own_clock else time.perf_counter() - started
            if turn >= 0:
                times[name].append(1000 * seconds)
    first = next(iter(times.values()))
    return [
        Result(name, statistics.median(own), min(own), max(own), multiple(first, own))
        for name, own in times.items()
    ]


def multiple(first: Sequence[float], own: Sequence[float]) -> float:
    """By how many times ``own`` is faster, from times of the same rounds: the median over them."""
    return statistics.median(base / mine for base, mine in zip(first, own))


def table(results: list[Result], settings: Mapping) -> str:
    """The results as text, below the machine and the settings."""
    lines = [f'{key}: {value}' for key, value in {**machine.describe(), **settings}.items()]
    details = [Column(name, 11, right=True, before='') for name in results[0].details]
    rows = [
        [
            r.name,
            *(f'{value:.2f}' for value in (r.median_ms, r.fastest_ms, r.slowest_ms)),
            f'{r.ratio:.2f}x',
            *map(_cell, r.details.values()),
        ]
        for r in results
    ]
    return '\n'.join([*lines, '', *tables.lines([*COLUMNS, *details], rows)])


def _cell(value: float | None) -> str:
    """Five digits are enough to tell losses apart, and one behind the point for larger numbers."""
    if value is None:
        return '-'
    return f'{value:.1f}' if abs(value) >= 100 else f'{value:.5g}'


def write_json(path: Path, results: list[Result], settings: Mapping):
    """The same as JSON."""
    document = {
        'machine': machine.describe(),
        'settings': dict(settings),
        'results': [asdict(result) for result in results],
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(document, indent=2) + '\n')
