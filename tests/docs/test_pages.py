"""Every page: its commands and snippets run, in the order of the page, and print what it shows."""

import pytest

from docs import blocks, page_run


@pytest.fixture(scope='session')
def workshop(tmp_path_factory, own_cache):
    """The copy of the project in which pages run."""
    made = page_run.Workshop(tmp_path_factory.mktemp('pages'))
    yield made
    made.close()


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize('path', page_run.page_files(), ids=lambda path: path.stem)
def test_the_page_is_true(path, workshop):
    if not workshop.folder.exists():
        workshop.copy()
    page = blocks.read(path)
    run = page_run.PageRun(path.name, workshop, page.faults)
    try:
        run.run(page.blocks)
    finally:
        workshop.clear(kept_as=f'failed_{path.stem}' if run.faults else None)
        for seconds, what in sorted(run.times, reverse=True):
            print(f'{seconds:6.2f} s  {what}')  # pytest -s shows it
    if run.faults:
        pytest.fail('\n\n'.join(run.faults), pytrace=False)
