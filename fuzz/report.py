"""The results of a run: a table, report.json, and a folder for each failing input."""

import json
import re
import shlex
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import files, machine
from common.errors import UserError
from common.terminal.printable import one_line, printable
from common.terminal.tables import Column, lines
from fuzz import child, outcomes
from fuzz.inputs import Content, Input, InputMaker, Reader, chosen_readers
from fuzz.outcomes import Outcome
from fuzz.settings import FuzzSettings, Limits

REPORT, RECORD, FILES = 'report.json', 'record.json', 'files'
_FOLDER = re.compile(r'(undamaged-)?\d{6}-\w+')
_PACKAGES = ('h5py', 'onnx', 'pillow', 'pyspng', 'PyYAML')  # beside those of every report


@dataclass(frozen=True)
class Findings:
    """The results of a run.

    Attributes:
        settings: Its options.
        limits: Limits of an input.
        maker: Makes the inputs.
        outcomes: What became of the inputs, in the order of their numbers.
        seconds: Time of the run.
    """

    settings: FuzzSettings
    limits: Limits
    maker: InputMaker
    outcomes: Sequence[Outcome]
    seconds: float

    @property
    def failures(self) -> list[Outcome]:
        """The outcomes that show a fault."""
        return [outcome for outcome in self.outcomes if outcome.is_failure]


def table(findings: Findings) -> list[str]:
    """Return the tallies of all readers, one row each, and the sums."""
    rows = []
    for name in (*(reader.name for reader in findings.maker.readers), 'all'):
        own = [o for o in findings.outcomes if name in (o.reader, 'all')]
        counts = Counter(outcome.kind for outcome in own)
        slowest = max((o.seconds for o in own), default=0)
        largest = max((o.memory_bytes for o in own), default=0)
        tallies = [str(counts[kind] or '-') for kind in outcomes.KINDS]
        rows.append([name, str(len(own)), *tallies, f'{slowest:.2f}', str(largest >> 20)])
    titles = ('inputs', *outcomes.KINDS, 'slowest s', 'peak MiB')
    columns = [Column('reader'), *(Column(title, right=True) for title in titles)]
    return lines(columns, rows)


def summary(findings: Findings) -> list[str]:
    """Return a line per kind of failure, with the command that replays its first input."""
    groups: dict[tuple[str, str, str], list[Outcome]] = {}
    for failure in findings.failures:
        groups.setdefault((failure.reader, failure.kind, failure.place), []).append(failure)
    texts = []
    for (reader, kind, place), members in groups.items():
        folder = shlex.quote(str(folder_of(findings.settings.output, members[0])))
        times = f' ({len(members)} inputs)' if len(members) > 1 else ''
        where = one_line(place) or 'unknown place'
        texts.append(f'{reader}: {kind}, {where}{times}: python -m fuzz --replay {folder}')
    return texts


def folder_of(output: Path, outcome: Outcome) -> Path:
    """Return the folder of a failing input."""
    number = outcome.number
    text = f'{number:06d}' if number >= 0 else f'undamaged-{-number:06d}'
    return output / f'{text}-{outcome.reader}'


def prepare(output: Path) -> None:
    """Check that the folder can be written, and remove the results of an earlier run.

    Raises:
        UserError: A file cannot be written or removed.
    """
    files.check_writable(output / REPORT)
    for path in files.listing(output):
        if _FOLDER.fullmatch(path.name) and files.kind_of(path / RECORD) == 'file':
            shutil.rmtree(path, ignore_errors=True)


def write(findings: Findings) -> None:
    """Write report.json and the failing inputs.

    Raises:
        UserError: A file cannot be written.
    """
    settings, limits = findings.settings, findings.limits
    for failure in findings.failures:
        _keep(findings, failure)
    by_reader: dict[str, Counter[str]] = {}
    for outcome in findings.outcomes:
        by_reader.setdefault(outcome.reader, Counter())[outcome.kind] += 1
    document = {
        'seed': settings.seed,
        'count': settings.count,
        'limits': {'seconds': limits.seconds, 'memory_bytes': limits.memory_bytes},
        'seconds': round(findings.seconds, 1),
        'versions': machine.versions() | {name: machine.version_of(name) for name in _PACKAGES},
        'inputs_sha256': outcomes.digest([outcome.input_sha256 for outcome in findings.outcomes]),
        'tallies': by_reader,
        'slowest_seconds': max((o.seconds for o in findings.outcomes), default=0),
        'failures': [_described(findings, failure) for failure in findings.failures],
    }
    files.write_json(settings.output / REPORT, document)


def _described(findings: Findings, failure: Outcome) -> dict[str, Any]:
    return {
        'number': failure.number,
        'reader': failure.reader,
        'kind': failure.kind,
        'place': failure.place,
        'mutations': failure.mutations,
        'seconds': failure.seconds,
        'memory_bytes': failure.memory_bytes,
        'detail': failure.detail,
        'folder': str(folder_of(findings.settings.output, failure)),
    }


def _keep(findings: Findings, failure: Outcome) -> None:
    """Write the files of a failing input, and a record that replays it."""
    each, folder = findings.maker.make(failure.number), folder_of(findings.settings.output, failure)
    try:
        child.write_files(each.content, folder / FILES)
    except OSError as error:
        raise UserError(f'{folder}: cannot be written ({error.strerror})') from error
    record = {
        'seed': findings.settings.seed,
        'origin': each.origin,
        'target': each.content.target,
        'opened': each.content.opened,
        'forged': each.forged,
        **_described(findings, failure),
    }
    files.write_json(folder / RECORD, record)


class KeptInput:
    """A failing input as a maker of two inputs: the valid files, and the damaged ones.

    Args:
        reader: The reader.
        record: The content of record.json.
        folder: Folder of the damaged files.
    """

    def __init__(self, reader: Reader, record: dict[str, Any], folder: Path):
        maker = InputMaker([reader], record['seed'])
        self.undamaged = [each for each in maker.undamaged if each.origin == record['origin']]
        valid = self.undamaged[0].content
        content = Content(
            {
                path.relative_to(folder).as_posix(): path.read_bytes()
                for path in sorted(folder.rglob('*'))
                if path.is_file()
            },
            record['target'],
            record['opened'],
            valid.is_right,
        )
        self._damaged = Input(
            0, reader, record['origin'], content, tuple(record['mutations']), record['forged']
        )

    def make(self, number: int) -> Input:
        """Return the damaged input for 0, the valid one for a negative number."""
        return self._damaged if number == 0 else self.undamaged[0]

    @property
    def numbers(self) -> list[int]:
        """The numbers to make: the damaged input is last, if there is any damage."""
        return [-1, 0] if self._damaged.mutations else [-1]


def kept_input(folder: Path, readers: Sequence[Reader]) -> KeptInput:
    """Return the failing input in a folder.

    Raises:
        UserError: The folder holds none.
    """
    try:
        record = json.loads((folder / RECORD).read_text(encoding='utf-8'))
        (reader,) = chosen_readers(readers, [record['reader']])
        return KeptInput(reader, record, folder / FILES)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(
            f'--replay {folder}: no failing input of python -m fuzz ({error}); name a folder that '
            'its table lists'
        ) from error


def shown(outcome: Outcome) -> list[str]:
    """Return a replayed outcome as lines."""
    head = (
        f'{outcome.reader}: {outcome.kind} after {outcome.seconds:.2f} s, '
        f'{outcome.memory_bytes >> 20} MiB'
    )
    return [head, *printable(outcome.detail).splitlines()]
