"""What runs networks: configs, contexts, prediction, evaluation, pictures, benchmarks."""

import sys

if sys.version_info < (3, 10):  # before a module whose syntax is younger ends in a traceback
    sys.stderr.write(
        'error: this is Python %d.%d, and NNabla here needs 3.10: use .venv/bin/python, '
        'which `make demo` creates\n' % sys.version_info[:2]
    )
    sys.exit(2)
