"""What this machine and this installation can do: python -m engine.environment

What may end a process, MPI and the GPU, is tried in child processes: the table is always printed.
"""

import sys
from argparse import Namespace

from common.command import DONE, Parser, run_command
from common.launcher import launched_rank


def build_parser() -> Parser:
    return Parser(prog='python -m engine.environment', description=__doc__)


def main(args: Namespace) -> int:
    from engine.environment import system_report

    print(*system_report.lines(launched_rank()), sep='\n')
    return DONE


if __name__ == '__main__':
    sys.exit(run_command(build_parser, main))
