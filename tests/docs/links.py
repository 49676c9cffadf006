"""The links of documents, and where they lead on GitHub."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it.token import Token

from docs import blocks


@dataclass(frozen=True)
class Link:
    """A link or a picture: the line of its paragraph, and where it leads."""

    line: int
    target: str


def of_page(path: Path) -> list[Link]:
    """Return the links of a page."""
    found = []
    for token in blocks.tokens_of(path.read_text(encoding='utf-8')):
        for child in token.children or ():
            target = child.attrGet('href') or child.attrGet('src')
            if target:
                found.append(Link((token.map or [0])[0] + 1, str(target)))
    return found


def faults(path: Path, inside: Path | None = None) -> list[str]:
    """Return the links of a page that lead nowhere.

    Args:
        path: The page.
        inside: The folder that links must not leave; None for any.
    """
    found = []
    for link in of_page(path):
        if re.match(r'[a-z]+:', link.target):
            continue
        name, _, anchor = link.target.partition('#')
        target = (path.parent / name).resolve() if name else path.resolve()
        where = f'{path.name}, line {link.line}: {link.target}'
        if not target.exists():
            found.append(f'{where}: no such file')
        elif inside and inside.resolve() not in target.parents:
            found.append(f'{where}: leaves {inside.name}/')
        elif anchor and anchor not in anchors(target):
            found.append(f'{where}: no such heading')
    return found


@cache
def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    found: set[str] = set()
    for title in _titles(blocks.tokens_of(path.read_text(encoding='utf-8'))):
        plain = re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-')
        repeated = (f'{plain}-{number}' for number in range(1, 99))
        found.add(plain if plain not in found else next(r for r in repeated if r not in found))
    return found


def _titles(tokens: list[Token]) -> Iterator[str]:
    """Yield the texts of headings, without Markdown's marks."""
    for token, following in zip(tokens, tokens[1:]):
        if token.type == 'heading_open':
            yield ''.join(
                child.content
                for child in following.children or ()
                if child.type in ('text', 'code_inline')
            )
