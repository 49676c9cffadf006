"""Report the capabilities of this machine and installation (python -m engine.environment).

MPI and the GPU can crash a process, so child processes try them: the table is always printed.
"""

import sys
from argparse import Namespace

from common.command import DONE, Parser, run_command
from common.launcher import launched_rank


def build_parser() -> Parser:
    """Return the parser of the command line."""
    return Parser(prog='python -m engine.environment', description=__doc__)


def main(args: Namespace) -> int:
    """Print the table and return the exit status."""
    from engine.environment import system_report

    print(*system_report.table_lines(launched_rank()), sep='\n')
    return DONE


if __name__ == '__main__':
    sys.exit(run_command(build_parser, main))
