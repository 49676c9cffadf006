"""Write the parts of the documents that commands print.

    python tools/update_docs.py

A part stands between <!-- generated: COMMAND --> and <!-- end -->, each on a separate line. COMMAND
is a command of the project that begins with python.
"""

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
BEGIN = '<!-- generated: '
PART = re.compile(rf'^{BEGIN}(python [^\n]*) -->\n(.*?)^<!-- end -->$', re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """Return the documents of the project."""
    return [*sorted(PROJECT.glob('*.md')), *sorted((PROJECT / 'docs').glob('*.md'))]


def commands(path: Path) -> list[str]:
    """Return the commands of a page's generated parts; exit when a part is not complete."""
    text = path.read_text(encoding='utf-8')
    found = [part[0] for part in PART.findall(text)]
    if len(found) != len(re.findall(f'^{BEGIN}', text, re.MULTILINE)):
        sys.exit(f'error: {path}: a generated part has no <!-- end -->, or no command of python')
    return found


def updated(text: str, printed: dict[str, str]) -> str:
    """Return the text of a page with what its commands print.

    Args:
        text: The page.
        printed: Output by command; parts of other commands stay.
    """

    def part(match: re.Match) -> str:
        content = printed[match[1]].strip() if match[1] in printed else match[2].strip()
        return f'{BEGIN}{match[1]} -->\n\n{content}\n\n<!-- end -->'

    return PART.sub(part, text)


def run(command: str) -> str:
    """Return what a command prints; exit when it fails."""
    words = shlex.split(command)[1:]
    process = subprocess.run([sys.executable, *words], cwd=PROJECT, capture_output=True, text=True)
    if process.returncode:
        sys.exit(f'error: {command}: {process.stderr.strip()}')
    return process.stdout


def update(paths: Iterable[Path]) -> list[Path]:
    """Write the generated parts of pages; return the pages that change."""
    found = {path: commands(path) for path in paths}
    printed = {command: run(command) for command in {c for own in found.values() for c in own}}
    changed = []
    for path in found:
        text = path.read_text(encoding='utf-8')
        new = updated(text, printed)
        if new != text:
            path.write_text(new, encoding='utf-8')
            changed.append(path)
    return changed


def main() -> None:
    """Update the pages of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition(':')[0])
    parser.add_argument('pages', nargs='*', type=Path, help='pages to update (default: all)')
    for path in update(parser.parse_args().pages or pages()):
        print(path)


if __name__ == '__main__':
    main()
