"""Runs of python -m engine.export in this process."""

import nnabla as nn

from common.command import run_command
from engine.export import __main__ as command

CAMVID = ('-cfg', 'configs/D3Net_T_camvid.yaml')


def started(*arguments):
    """Run the command in this process; return the exit status."""
    nn.clear_parameters()
    return run_command(command.build_parser, command.main, [str(a) for a in arguments])
