"""The bottom layer: errors, log, command line frame, files, downloads, machine facts.

Every other package of the project imports this one; it imports none of them. Modules that the
command line frame needs use the standard library only: they must be importable where the other
packages are missing.
"""

import logging
from pathlib import Path

__version__ = '0.6.0'  # version of the whole project; pyproject.toml reads it here
PROJECT = Path(__file__).resolve().parent.parent  # the folder of README.md, configs/ and resources/
# Every package of the project imports this one before NNabla, which logs its own import.
logging.getLogger('nnabla').setLevel(logging.WARNING)
