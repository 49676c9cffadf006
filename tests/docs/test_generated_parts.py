"""The generated parts of the documents are what their commands print now."""

import importlib.util

import pytest

from support import programs

SPEC = importlib.util.spec_from_file_location(
    'update_docs', programs.PROJECT / 'tools' / 'update_docs.py'
)
update_docs = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(update_docs)
PAGE = """# Page
<!-- generated: python -c 'print(6 * 7)' -->
old
<!-- end -->
between
<!-- benchmark:speed -->
42
<!-- end -->
<!-- generated: python -c 'print("a")' -->
<!-- end -->
"""


def parts():
    """Return page and command of every generated part."""
    return [
        (path, command) for path in update_docs.pages() for command in update_docs.commands(path)
    ]


@pytest.mark.long
@pytest.mark.parametrize('path, command', parts(), ids=lambda value: getattr(value, 'stem', None))
def test_a_part_is_what_its_command_prints(path, command):
    text = path.read_text()
    new = update_docs.updated(text, {command: update_docs.run(command)})
    assert new == text, f'{path} is not up to date: python tools/update_docs.py'


def test_only_what_is_between_the_markers_changes(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text(PAGE)
    assert update_docs.update([page]) == [page]
    first, second = "python -c 'print(6 * 7)'", 'python -c \'print("a")\''
    expected = PAGE.replace('-->\nold\n', '-->\n\n42\n\n').replace(
        f'{second} -->\n', f'{second} -->\n\na\n\n'
    )
    assert page.read_text() == expected and first in expected
    assert update_docs.update([page]) == []


@pytest.mark.parametrize(
    'part', ['<!-- generated: python x.py -->\n', '<!-- generated: ls -->\n<!-- end -->\n']
)
def test_an_incomplete_part_ends_the_program(part, tmp_path):
    page = tmp_path / 'page.md'
    page.write_text(part)
    with pytest.raises(SystemExit, match='page.md: a generated part has no'):
        update_docs.update([page])


def test_a_failing_command_ends_the_program_and_changes_nothing(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text(PAGE.replace('print(6 * 7)', 'import sys; sys.exit("broken")'))
    with pytest.raises(SystemExit, match='error: python -c .*: broken'):
        update_docs.update([page])
    assert 'old' in page.read_text()
