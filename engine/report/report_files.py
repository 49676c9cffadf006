"""Write the files of a report: the page in Markdown and the picture of the curves."""

from pathlib import Path

from common import files
from common.terminal.printable import printable
from common.writing import write_targets
from engine.report import curves, summary

SUMMARY, PICTURE = 'report.md', 'report.png'


def write_report(run: Path, picture: Path) -> str:
    """Write the picture of a run, and the page that embeds it into the run's folder.

    Args:
        run: Folder of the run.
        picture: File of the picture.

    Returns:
        The page.

    Raises:
        UserError: The run cannot be read, or a file cannot be written.
    """
    write_targets.refuse_streams(run)
    record = summary.read_run(run)
    page = printable(summary.format_page(record, picture))
    title = f'{record.name}, iteration {record.iteration} of {record.total or summary.UNKNOWN}'
    curves.draw_curves(picture, title, record.losses, record.rates, record.scores)
    with files.replacing(run / SUMMARY) as temporary:
        temporary.write_text(page, encoding='utf-8', errors='backslashreplace')
    return page
