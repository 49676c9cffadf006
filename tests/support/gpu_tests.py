"""Define the device of the tests on GPUs, and call the project's programs in them.

``REHEARSE=1`` replaces the GPU by the CPU as far as possible, to try the tests on a machine without
a GPU.
"""

import os

import nnabla as nn
import pytest

from common import command
from support import train_runs

REHEARSED = bool(os.environ.get('REHEARSE'))
DEVICE = 'cpu' if REHEARSED else 'cudnn'
TYPES = ('float',) if REHEARSED else ('float', 'half')

marks = [pytest.mark.gpu, pytest.mark.timeout(280)]
needs_gpu = pytest.mark.skipif(REHEARSED, reason='rehearsed on the CPU')


def run(program, *arguments):
    """Run a command of the project in this process and return its exit status."""
    nn.clear_parameters()
    return command.run_command(program.build_parser, program.main, [str(a) for a in arguments])


def train_arguments(folder, data, *more):
    """Return the arguments of a training of a tiny network, without the self-check."""
    config = train_runs.write_config(folder, max_iter=60, save_interval=5, log_interval=None)
    options = ['-d', data, '-cfg', config, '-c', DEVICE, '-o', folder / 'run', '--log-interval', 1]
    return [str(part) for part in ('train.py', *options, '--skip-self-check', *more)]
