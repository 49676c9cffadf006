"""Group runs that differ in the seed alone, and find what else differs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.sections import plain
from common.terminal.printable import one_line
from engine.config import schema
from engine.report.records import RunRecord

MAX_NAMES = 3  # of the runs in the name of a group


@dataclass(frozen=True)
class NamedRun:
    """A run and its name, which no other run of the report has."""

    name: str
    record: RunRecord

    @property
    def seed(self) -> int | None:
        """Seed of the run; None without a readable state."""
        return self.record.facts.get('seed')


@dataclass(frozen=True)
class RunGroup:
    """Runs that differ in the seed alone, or a single run.

    Attributes:
        runs: The runs, in the order of the command line.
        config: Keys of their config, with the defaults.
        facts: What else determines their results beside the seed, by name: options, processes,
            versions, progress, validated images. None for what is unknown.
    """

    runs: tuple[NamedRun, ...]
    config: Mapping[str, Any]
    facts: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Names of the runs."""
        names = [run.name for run in self.runs]
        more = len(names) - MAX_NAMES
        return ', '.join(names[:MAX_NAMES]) + (f' and {more} more' if more > 0 else '')

    @property
    def records(self) -> list[RunRecord]:
        """The records of the runs."""
        return [run.record for run in self.runs]

    def has_another_seed(self, run: NamedRun) -> bool:
        """Return whether the seeds of these runs and of another one are known and differ."""
        seeds = [each.seed for each in (*self.runs, run)]
        return None not in seeds and len(set(seeds)) == len(seeds)

    @property
    def data(self) -> str | None:
        """Images that the last validation scored; None without a validation."""
        return self.facts['validated']


def group(records: Sequence[RunRecord]) -> list[RunGroup]:
    """Group runs that differ in the seed alone, in order of appearance.

    A run whose seed is unknown, or equal to that of another run of the group, stands alone.

    Raises:
        UserError: A run is given twice.
    """
    groups: list[RunGroup] = []
    for run in _named(records):
        config, facts = _with_defaults(run.record.config), _facts(run.record)
        for number, other in enumerate(groups):
            same = other.config == config and other.facts == facts
            if same and other.has_another_seed(run):
                groups[number] = RunGroup((*other.runs, run), config, facts)
                break
        else:
            groups.append(RunGroup((run,), config, facts))
    return groups


def differences(groups: Sequence[RunGroup]) -> dict[str, list[Any]]:
    """Return the keys and facts that are not the same for all groups, with each group's value.

    The value is None for a key that is not set, and for an unknown fact, which differs from none.
    """
    keys = _by_name([each.config for each in groups])
    facts = _by_name([each.facts for each in groups])
    differing = {name: values for name, values in keys.items() if _differ(values)}
    for name, values in facts.items():
        if _differ([value for value in values if value is not None]):
            differing[name] = values
    return differing


def _by_name(mappings: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return for each name the values in all mappings; None where one lacks the name."""
    names = dict.fromkeys(name for mapping in mappings for name in mapping)
    return {name: [mapping.get(name) for mapping in mappings] for name in names}


def _differ(values: Sequence[Any]) -> bool:
    return any(value != values[0] for value in values)


def _named(records: Sequence[RunRecord]) -> list[NamedRun]:
    """Name runs by the shortest ends of their paths that differ."""
    paths = [record.folder.path.resolve() for record in records]
    for record, path in zip(records, paths):
        if paths.count(path) > 1:
            raise UserError(f'{record.folder.path}: is given twice; name each run once')
    names = [one_line(_short_name(path, paths)) for path in paths]
    return list(map(NamedRun, names, records))


def _short_name(path: Path, paths: Sequence[Path]) -> str:
    for length in range(1, len(path.parts)):
        end = path.parts[-length:]
        if sum(other.parts[-length:] == end for other in paths) == 1:
            return os.path.join(*end)
    return str(path)


def _facts(record: RunRecord) -> dict[str, Any]:
    facts = record.facts
    return {
        **{str(option): value for option, value in facts.get('options', {}).items()},
        'processes': facts.get('processes'),
        **{f'version of {name}': value for name, value in facts.get('versions', {}).items()},
        'iterations': f'{record.iteration} of {record.total or "-"}',
        'validated': _validated(record),
    }


def _with_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config with the defaults of the keys that it lacks; None for those without one."""
    try:
        keys = schema.keys_for(config)
    except UserError:  # a network of the user's own: what the configs say is compared
        return dict(config)
    defaults = {n: plain(k.default) for n, k in keys.items() if k.default is not MISSING}
    return {**defaults, **config}


def _validated(record: RunRecord) -> str | None:
    """Return data set, split and number of images of the last validation; None without one."""
    if not record.validations:
        return None
    last = record.validations[-1]
    facts = last.get('settings')
    if not isinstance(facts, dict):  # an older version's
        facts = {'dataset': record.data.dataset, 'split': record.data.val_split}
    words = ' '.join(str(facts.get(key) or '-') for key in ('dataset', 'split'))
    images = last.get('images')
    return f'{words}, {images} images' if isinstance(images, int) else words
