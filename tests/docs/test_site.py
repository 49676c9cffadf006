"""The site that `make docs` builds: complete, without a request to another host."""

import re
import subprocess
import sys
import threading
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from docs import links
from support import browsers, programs

LOADED = {'link': 'href', 'script': 'src', 'img': 'src', 'iframe': 'src', 'source': 'src'}
DOCS = programs.PROJECT / 'docs'


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files without a line for each."""

    def log_message(self, *_):
        pass


class Page(HTMLParser):
    """What a built page loads, and its anchors."""

    def __init__(self, text):
        super().__init__()
        self.loaded, self.anchors = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag in LOADED and values.get('rel') not in ('canonical', 'prev', 'next'):
            self.loaded.append(values.get(LOADED[tag]) or '')
        self.anchors.add(values.get('id'))


def build(project, folder):
    """Build the site of a project as `make docs` does; return the finished process."""
    return subprocess.run(
        [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--site-dir', folder],
        cwd=project,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """The built site."""
    folder = tmp_path_factory.mktemp('site')
    process = build(programs.PROJECT, folder)
    assert process.returncode == 0, process.stderr
    return folder


def test_it_has_every_page_and_the_anchors_of_github(site):
    for path in DOCS.glob('*.md'):
        page = Page((site / path.name).with_suffix('.html').read_text())
        assert links.anchors(path) <= page.anchors, path


def test_it_loads_nothing_from_another_host(site):
    pages = list(site.rglob('*.html'))
    assert len(pages) > len(list(DOCS.glob('*.md')))
    for path in pages:
        loaded = Page(path.read_text()).loaded
        assert loaded and not [each for each in loaded if re.match(r'(https?:)?//', each)], path
    for path in site.rglob('*.css'):
        assert not re.findall(r'url\(["\']?(?:https?:)?//|@import', path.read_text()), path


def test_a_browser_reads_and_searches_it_on_this_machine_alone(site):
    """Scripts could load more than the pages name."""
    handler = partial(QuietHandler, directory=site)
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as server, browsers.chromium() as browser:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f'http://127.0.0.1:{server.server_port}/'
        page = browser.new_page()
        watch = browsers.Watch(page)
        page.goto(f'{address}python.html')
        page.locator('label[title=Dark]').first.click()
        assert page.locator('body').get_attribute('data-md-color-scheme') == 'slate'
        assert page.locator('article .highlight button').count() > 5  # that copy
        page.locator('.md-search__input').press_sequentially('confidence')
        page.locator('.md-search-result__item').first.wait_for()
        server.shutdown()
    assert watch.errors == []
    assert len(watch.requests) > 5
    assert [each for each in watch.requests if not each.startswith(address)] == []


def test_broken_links_and_forgotten_pages_end_the_build(tmp_path):
    config = (programs.PROJECT / 'mkdocs.yml').read_text().partition('\nnav:')[0]
    (tmp_path / 'mkdocs.yml').write_text(f'{config}\nnav: [index.md]\n')
    (tmp_path / 'docs').mkdir()
    (tmp_path / 'docs' / 'index.md').write_text('# Page\n\n[a](#page)\n')
    process = build(tmp_path, tmp_path / 'site')
    assert process.returncode == 0, process.stderr
    links = '[a](none.md) [b](#none) [c](../README.md) ![d](none.png) [e](/index.md)'
    (tmp_path / 'docs' / 'index.md').write_text(f'# Page\n\n{links}\n')
    (tmp_path / 'docs' / 'other.md').write_text('# Other\n')
    process = build(tmp_path, tmp_path / 'site')
    assert process.returncode == 1
    faults = re.findall(r'^(?:WARNING.* link |  - )(\S+)', process.stderr.replace("'", ''), re.M)
    assert sorted(faults) == sorted(
        ['none.md,', '#none,', '../README.md,', 'none.png,', '/index.md,', 'other.md']
    )


def test_make_builds_it():
    makefile = (programs.PROJECT / 'Makefile').read_text()
    assert ' $(RUN) -m mkdocs build --strict\n' in makefile
