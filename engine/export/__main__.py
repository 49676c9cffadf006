"""python -m engine.export: write a network as a file for other runtimes."""

import sys

from common.command import run
from engine.export.command_line import build_parser, main

if __name__ == '__main__':
    sys.exit(run(build_parser, main))
