"""Run forms of ``python -m datasets.prepare`` in this process."""

from datasets import prepare


def run(capsys, *words, processes=1):
    """Return exit status, lines of the output and errors of a form of the command."""
    status = prepare.run([str(word) for word in (*words, '--processes', processes)])
    captured = capsys.readouterr()
    errors = [line for line in captured.err.splitlines() if line.startswith('error: ')]
    return status, captured.out.splitlines(), errors


def refused(capsys, *words):
    """Return the one line of a form of the command that is refused."""
    status, lines, errors = run(capsys, *words)
    assert (status, lines) == (2, [])
    assert len(errors) == 1, errors
    return errors[0].removeprefix('error: ')
