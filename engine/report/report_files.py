"""Write the files of a report: the page as Markdown and the picture of the curves."""

from pathlib import Path

from common import files
from engine.report import curves, summary

SUMMARY, PICTURE = 'report.md', 'report.png'


def write(run: Path, picture: Path) -> str:
    """Write the picture, and the page that shows it into the run's folder.

    Returns:
        The page.

    Raises:
        UserError: The run cannot be read, or a file cannot be written.
    """
    record = summary.read(run)
    page = summary.page(record, picture)
    title = f'{record.name}, iteration {record.iteration} of {record.total or summary.UNKNOWN}'
    curves.draw(picture, title, record.losses, record.rates, record.scores)
    with files.replacing(run / SUMMARY) as temporary:
        temporary.write_text(page, encoding='utf-8')
    return page
