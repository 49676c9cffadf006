"""Write the files of a report: the page in Markdown and the picture of the curves."""

from collections.abc import Sequence
from pathlib import Path

from common import figures, files
from common.log import LOG
from common.terminal.printable import printable
from common.writing import write_targets
from common.writing.protected_files import ProtectedFiles
from engine.report import (
    compared_curves,
    comparison,
    curves,
    groups,
    records,
    summary,
    task_curves,
)

SUMMARY, PICTURE = 'report.md', 'report.png'
COMPARISON = Path('comparison.png')  # the page is beside the picture, with the ending .md


def write_report(run: Path, picture: Path | None) -> str:
    """Write the picture of a run, and the page that embeds it into the run's folder.

    Args:
        run: Folder of the run.
        picture: File of the picture; None for one in that folder.

    Returns:
        The page.

    Raises:
        UserError: The run cannot be read, or a file cannot be written.
    """
    write_targets.refuse_streams(run)
    record = records.read_run(run)
    picture = picture or run / PICTURE
    page = printable(summary.format_page(record, picture))
    title = f'{record.name}, iteration {record.iteration} of {record.total or summary.UNKNOWN}'
    if record.tasks:
        task_curves.draw(picture, title, record)
    else:
        curves.draw_curves(picture, title, record.losses, record.rates, record.scores)
    _write_page(run / SUMMARY, page)
    return page


def write_comparison(runs: Sequence[Path], picture: Path | None) -> str:
    """Write one picture of the curves of several runs, and beside it the page that embeds it.

    Args:
        runs: Folders of the runs.
        picture: File of the picture; None for ``COMPARISON`` in the working directory.

    Returns:
        The page.

    Raises:
        UserError: A run cannot be read, a run is given twice, or a file cannot be written or would
            overwrite another one.
    """
    picture = picture or COMPARISON
    for run in runs:
        write_targets.refuse_streams(run)
    found = groups.group([records.read_run(run, empty=True) for run in runs])
    target = picture.with_suffix('.md')
    figures.check_format(picture)
    protected = ProtectedFiles()
    for run in runs:
        protected.add('a file of a run', sorted(run.iterdir()))
    protected.claim('-o', picture)
    protected.claim_text('-o', target, comparison.HEADING, 'a comparison of runs')
    page = printable(comparison.format_page(found, picture, target))
    compared_curves.draw(picture, f'{len(runs)} runs', found)
    _write_page(target, page)
    LOG.info('%s and %s written', picture, target)
    return page


def _write_page(path: Path, page: str) -> None:
    with files.replacing(path) as temporary:
        temporary.write_text(page, encoding='utf-8', errors='backslashreplace')
