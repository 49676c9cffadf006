"""Commands that are not run with their page, because a test or a check runs them as they are."""

import re

# Regular expression of the whole command, and the test file, or the target of make that CI runs.
ELSEWHERE = {
    r'git clone \S+ nnseg( && cd nnseg)?': 'tests/docs/workshop.py',  # copies the project
    r'make (test|test-fast|lint)': '.ci/run',  # test-fast is a part of test
    r'make serve-environment': 'tests/tools/test_requirements.py',
    r'make docs': 'tests/docs/test_site.py',
}


def place(command: str) -> str | None:
    """Return the file of the project that runs a command; None if none does."""
    for pattern, where in ELSEWHERE.items():
        if re.fullmatch(pattern, command):
            return where
    return None
