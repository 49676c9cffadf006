"""Every reader reads its valid files, and survives some hundred damaged ones of a fixed seed."""

import json

from support import programs

COUNT = 400


def test_damaged_files_are_read_or_refused(tmp_path):
    process = programs.run('-m', 'fuzz', '-n', COUNT, '-o', tmp_path, '--jobs', 1)
    assert process.returncode == 0, process.stdout
    document = json.loads((tmp_path / 'report.json').read_text())
    assert sum(sum(tally.values()) for tally in document['tallies'].values()) > COUNT
    assert all(tally.get('read', 0) for tally in document['tallies'].values())
    refused = sum(tally.get('refused', 0) for tally in document['tallies'].values())
    assert refused > COUNT / 4  # the damage is no decoration
    assert document['failures'] == []
