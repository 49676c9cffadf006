"""Every page: its commands and snippets run, in the order of the page, and print what it shows."""

import pytest

from docs import blocks, summary
from docs.page_run import PAGES, PageRun


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize('path', PAGES, ids=lambda path: path.stem)
def test_the_page_is_true(path, workshop, record_property):
    workshop.renew()
    page = blocks.read(path)
    run = PageRun(page.name, workshop, page.faults)
    try:
        run.run(page.blocks)
    finally:
        workshop.clear(keep_as=f'failed_{path.stem}' if run.faults else None)
        times = [(t.seconds, t.cpu_seconds, t.what) for t in run.times]
        record_property(summary.PROPERTY, [str(path), times])
    if run.faults:
        pytest.fail('\n\n'.join(run.faults), pytrace=False)
