"""Run the fuzzer: make inputs, read them in children, report what became of them."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from common import machine
from common.errors import UserError
from common.terminal.progress import ProgressBar
from fuzz import outcomes, pool, report
from fuzz.inputs import InputMaker, Maker, Reader, chosen_readers
from fuzz.outcomes import Outcome
from fuzz.report import Findings
from fuzz.settings import LIMITS, FuzzSettings, Limits


def fuzz(settings: FuzzSettings, readers: Sequence[Reader], limits: Limits = LIMITS) -> Findings:
    """Read inputs, write report.json and the failing inputs, and return the findings.

    Args:
        settings: The options.
        readers: All readers, from which the settings choose.
        limits: Limits of an input.

    Raises:
        UserError: An option is wrong, or the results cannot be written.
    """
    for name, value, least in (('-n', settings.count, 0), ('--jobs', settings.jobs, 1)):
        if value is not None and value < least:
            raise UserError(f'{name} must be at least {least}, not {value}')
    started = time.monotonic()
    chosen = chosen_readers(readers, settings.readers)
    maker = InputMaker(chosen, settings.seed)
    report.prepare(settings.output)
    numbers = [*(each.number for each in maker.undamaged), *range(settings.count)]
    found = _judged(maker, numbers, settings.jobs or machine.threads(), limits)
    findings = Findings(settings, limits, maker, found, time.monotonic() - started)
    report.write(findings)
    return findings


def replay(folder: Path, readers: Sequence[Reader], limits: Limits = LIMITS) -> Outcome:
    """Read the failing input in a folder again and return what becomes of it.

    Raises:
        UserError: The folder holds no failing input.
    """
    maker = report.kept_input(folder, readers)
    return _judged(maker, maker.numbers, 1, limits)[-1]


def _judged(maker: Maker, numbers: Sequence[int], jobs: int, limits: Limits) -> list[Outcome]:
    """Return the outcomes in the order of the numbers; damaged content can be a failure."""
    found = list(_with_progress(pool.read_all(maker, numbers, jobs, limits), len(numbers)))
    expected = {(o.reader, o.origin): set(o.digests) for o in found if o.number < 0}
    return [
        replace(outcome, kind=outcomes.CHANGED, detail='read, with other content')
        if outcome.kind == outcomes.READ
        and outcome.is_covered
        and not expected[outcome.reader, outcome.origin].issuperset(outcome.digests)
        else outcome
        for outcome in sorted(found, key=lambda o: o.number)
    ]


def _with_progress(found: Iterable[Outcome], total: int) -> Iterable[Outcome]:
    return ProgressBar(found, desc='inputs', total=total, disable=None, leave=False)
