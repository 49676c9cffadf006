"""Links of documents lead to files and headings, as GitHub shows them."""

import pytest

from docs import links
from docs.page_run import PAGES
from support import programs

DOCS = programs.PROJECT / 'docs'


@pytest.mark.parametrize('path', PAGES, ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    """Those of docs/ stay within: the site has these pages only."""
    assert links.faults(path, inside=DOCS if path.parent == DOCS else None) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path):
    pages = tmp_path / 'pages'
    pages.mkdir()
    (tmp_path / 'out.md').write_text('# Out\n')
    (pages / 'a.md').write_text('# A: *one* `b_c`\n\n## Twice\n\n## Twice\n\n```sh\n# none\n```\n')
    page = pages / 'page.md'
    page.write_text(
        '# Own\n\n[a](a.md#a-one-b_c) [b](a.md#twice-1) [c](#own) [d](https://example.org/#x)\n\n'
        '![e](a.md) [f](none.md) [g](a.md#twice-2)\n\n| h |\n| --- |\n| [i](#none) |\n\n'
        '[j](../out.md#out) [k](a.md#none)\n'
    )
    assert links.faults(page, inside=pages) == [
        'page.md, line 5: none.md: no such file',
        'page.md, line 5: a.md#twice-2: no such heading',
        'page.md, line 9: #none: no such heading',
        'page.md, line 11: ../out.md#out: leaves pages/',
        'page.md, line 11: a.md#none: no such heading',
    ]


def test_the_first_page_leads_to_every_other():
    linked = {link.target.partition('#')[0] for link in links.of_page(DOCS / 'index.md')}
    pages = {path.name for path in DOCS.iterdir() if path.suffix in ('.md', '.ipynb')}
    assert pages - linked == {'index.md'}
