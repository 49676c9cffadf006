"""The fuzzer finds every kind of fault in readers that have one, and none in a good one."""

import json
from pathlib import Path

import pytest

from support import programs

SCRIPT = Path(programs.__file__).with_name('planted_readers.py')
EXPECTED = {
    'traceback': 'traceback',
    'hang': 'hang',
    'signal': 'signal',
    'exit': 'signal',
    'memory': 'memory',
    'allocation': 'memory',
    'changed': 'changed',
    'raw': 'raw output',
    'nameless': 'message',
    'control': 'message',
    'log': 'message',
    'wrong': 'wrong',
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('found')


@pytest.fixture(scope='module')
def found(folder):
    path = ':'.join((str(programs.PROJECT), str(programs.PROJECT / 'tests')))
    process = programs.run(SCRIPT, folder, PYTHONPATH=path)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def test_each_kind_of_fault_is_found(found):
    kinds = {name: set() for name in ('good', *EXPECTED)}
    for _, reader, kind, _ in found['outcomes']['1']:
        kinds[reader].add(kind)
    assert kinds.pop('good') == {'read', 'refused'}
    for reader, kind in EXPECTED.items():
        assert kind in kinds[reader], reader
        assert kinds[reader] <= {kind, 'read'}, reader


def test_inputs_and_outcomes_do_not_depend_on_the_number_of_children(found):
    one, three = found['outcomes'].values()
    assert one == three


def test_a_kept_input_fails_again(found):
    assert found['again'] == EXPECTED


def test_the_report_has_every_failure(found, folder):
    document = json.loads((folder / 'report.json').read_text())
    assert {failure['reader'] for failure in document['failures']} == set(EXPECTED)
    assert document['tallies']['good'] == {'read': 1, 'refused': 1}
    assert document['versions']['nnseg']
    for failure in document['failures']:
        assert len(list((Path(failure['folder']) / 'files').iterdir())) == 1
    for line in found['lines']:
        assert 'python -m fuzz --replay ' in line
