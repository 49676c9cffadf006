"""Feed damaged and hostile files to every reader (python -m fuzz).

Every input must be read, or refused in one line that names the file, within the limits of time and
memory. The command prints a table of what became of the inputs, and keeps those that failed.
"""

import sys
from argparse import Namespace

from common import command
from common.command import DONE, SOME_FAILED, Parser, run_command
from fuzz.settings import FuzzSettings


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(prog='python -m fuzz', description=__doc__)
    command.add_options(parser, FuzzSettings)
    return parser


def main(args: Namespace) -> int:
    """Run the fuzzer, or replay an input, and return the exit status: 1 for failures."""
    from fuzz import fuzzing, readers, report

    settings = command.settings(FuzzSettings, args)
    if settings.replay is not None:
        outcome = fuzzing.replay(settings.replay, readers.ALL)
        print(*report.shown(outcome), sep='\n')
        return SOME_FAILED if outcome.is_failure else DONE
    findings = fuzzing.fuzz(settings, readers.ALL)
    print(*report.table(findings), *report.summary(findings), sep='\n')
    print(
        f'{len(findings.failures)} failures among {len(findings.outcomes)} inputs in '
        f'{findings.seconds:.0f} s; {settings.output / report.REPORT} has the details'
    )
    return SOME_FAILED if findings.failures else DONE


if __name__ == '__main__':
    sys.exit(run_command(build_parser, main))
