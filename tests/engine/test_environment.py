"""The table of what this installation can do."""

import helpers
from engine import environment

SMI = """\
NVIDIA H200, 143771 MiB, 580.159, 9.0
NVIDIA A10, 23028 MiB, 580.159, 8.6
"""


def test_the_table_as_a_user_sees_it():
    process = helpers.run('-m', 'engine.environment')
    assert process.returncode == 0, process.stderr
    rows = {line.split('  ')[0] for line in process.stdout.splitlines()}
    assert {'CPU', 'GPU', 'Python', 'packages', '-c cpu', '-c cudnn', 'MPI'} <= rows
    text = ' '.join(process.stdout.split())
    assert 'nnabla 1.39.0' in text
    assert 'numpy 1.26.4' in text
    assert 'Open MPI' in text
    assert 'illegal instruction' in text
    assert max(map(len, process.stdout.splitlines())) <= 120


def test_gpus_and_their_known_problems(monkeypatch):
    monkeypatch.setattr(environment, '_output', lambda command: SMI)
    assert 'NVIDIA H200 (143771 MiB, driver 580.159' in environment.machine()['GPU']
    assert 'NVIDIA A10' in environment.machine()['GPU']
    assert 'here: NVIDIA H200' in environment._problems()[0]
    monkeypatch.setattr(environment, '_output', lambda command: SMI.splitlines()[1])
    assert '(not here)' in environment._problems()[0]
