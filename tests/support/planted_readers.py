"""Fuzz readers with one fault each, and print what was found as JSON.

Run as a program, because the fuzzer forks: a test process has threads, and libraries in use.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.log import LOG
from fuzz import fuzzing, report
from fuzz.inputs import Reader, one_file
from fuzz.settings import FuzzSettings, Limits

LIMITS = Limits(seconds=2, memory_bytes=50 << 20)
VALID = b'valid content of a file'


def good(path):
    data = path.read_bytes()
    if data != VALID:
        raise UserError(f'{path}: damaged')
    return data


def raises(path):
    return good_or(path, lambda: json.loads('{'))


def hangs(path):
    return good_or(path, lambda: time.sleep(60))


def dies(path):
    return good_or(path, lambda: os.kill(os.getpid(), signal.SIGSEGV))


def exits(path):
    return good_or(path, lambda: os._exit(0))


def takes_memory(path):
    return good_or(path, lambda: np.ones(80 << 20, np.uint8))


def asks_for_memory(path):
    def ask():
        try:
            np.empty(8 << 30, np.uint8)  # never touched, and refused by the limit
        except MemoryError as error:
            raise UserError(f'{path}: not enough memory') from error

    return good_or(path, ask)


def changes(path):
    return path.read_bytes()


def prints(path):
    os.write(2, b'libpng warning: 7 of 9\n')
    return good(path)


def names_nothing(path):
    return good_or(path, lambda: refuse('the file is damaged'))


class RawError(UserError):
    def __str__(self):
        return self.args[0]  # UserError itself escapes control characters


def quotes_control_characters(path):
    def quote():
        raise RawError(f'{path}: has \x1b[2J')

    return good_or(path, quote)


def logs_control_characters(path):
    return good_or(path, lambda: LOG.warning('%s: has \x1b[2J', path))


def is_never_right(path):
    return b'other'


def good_or(path, act):
    """Return valid content, else do what the reader does wrong."""
    if path.read_bytes() != VALID:
        act()
    return VALID


def refuse(message):
    raise UserError(message)


FAULTY = {
    'traceback': raises,
    'hang': hangs,
    'signal': dies,
    'exit': exits,
    'memory': takes_memory,
    'allocation': asks_for_memory,
    'changed': changes,
    'raw': prints,
    'nameless': names_nothing,
    'control': quotes_control_characters,
    'log': logs_control_characters,
    'wrong': is_never_right,
}


def make(rng):
    return [one_file('file.bin', VALID, lambda value: value == VALID)]


def main(output):
    readers = [Reader('good', make, good, has_checksums=True)]
    for name, read in FAULTY.items():
        readers.append(Reader(name, make, read, has_checksums=name == 'changed'))
    names = [reader.name for reader in readers]
    results = {}
    for jobs in (1, 3):
        settings = FuzzSettings(count=len(names), output=Path(output), jobs=jobs)
        findings = fuzzing.fuzz(settings, readers, LIMITS)
        results[jobs] = [
            [each.number, each.reader, each.kind, each.input_sha256] for each in findings.outcomes
        ]
    again = {
        each.reader: fuzzing.replay(report.folder_of(Path(output), each), readers, LIMITS).kind
        for each in findings.failures
    }
    print(json.dumps({'outcomes': results, 'again': again, 'lines': report.summary(findings)}))


if __name__ == '__main__':
    main(sys.argv[1])
