"""What every other package stands on, and what imports none of them: errors, the log, the frame of
a command line, files, downloads, the machine.

The modules need the standard library only where a command must say that the rest is missing.
"""

import logging
from pathlib import Path

__version__ = '0.2.0'  # of the whole project; pyproject.toml reads it here
PROJECT = Path(__file__).resolve().parent.parent  # the folder of README.md, configs/ and resources/
# Here, as every package of the project imports this one before NNabla, which reports its import.
logging.getLogger('nnabla').setLevel(logging.WARNING)
