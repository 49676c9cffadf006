"""Read the blocks of code of a Markdown page, and refuse what a reader or a test cannot use."""

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

LANGUAGES = ('sh', 'python', 'yaml', 'text', 'json')
# A paragraph that ends so names the file that the block below it is.
FILE = re.compile(r'`([\w./-]+\.(?:py|ya?ml|txt|lst|json|xml|sh|sbatch|conf|cfg|toml|md))`:$')
MARK = re.compile(r'# not run here: (\S.*\S)')
NEARLY_A_MARK = re.compile(r'#.*\bnot[ -](?:be )?run\b', re.IGNORECASE)


class PageError(Exception):
    """A page breaks a rule; the message has page and line."""


@dataclass
class Block:
    """A block of code.

    ``line`` is that of the fence, from 1. ``file`` is the path that the paragraph above names. ``shown`` is the
    ``text`` block directly below, the output. ``reason`` says why the whole block is not run.
    """

    line: int
    language: str
    code: str
    file: str | None = None
    shown: str | None = None
    shown_line: int = 0
    reason: str | None = None

    def takes_output(self) -> bool:
        """Return whether a text directly below is what this block prints."""
        return self.language in ('sh', 'python') and not self.file and self.shown is None


@dataclass
class Page:
    """The blocks of a page in order, and the rules that it breaks, each with its line."""

    name: str
    blocks: list[Block]
    faults: list[str]


def read(path: Path) -> Page:
    """Read a page."""
    return parse(path.read_text(encoding='utf-8'), path.name)


def parse(text: str, name: str) -> Page:
    """Read the text of a page."""
    page = Page(name, [], [])
    tokens = MarkdownIt('commonmark').enable('table').parse(text)
    for index, token in enumerate(tokens):
        if token.type not in ('code_block', 'fence'):
            continue
        try:
            _add(page, token, tokens[max(0, index - 3) : index])
        except PageError as error:
            page.faults.append(str(error))
    return page


def _add(page: Page, token: Token, before: list[Token]):
    """Add a block of code to its page, or to the block whose output it is."""
    line = token.map[0] + 1
    where, language = f'{page.name}, line {line}', token.info.strip()
    if token.type == 'code_block':
        raise PageError(f'{where}: an indented block of code; use a fence with a language')
    if token.markup != '```' or token.level:
        raise PageError(f'{where}: write the fence as ``` at the left margin')
    if language not in LANGUAGES:
        raise PageError(f'{where}: the language {language!r} is none of {", ".join(LANGUAGES)}')
    above = page.blocks[-1] if before and before[-1].type == 'fence' and page.blocks else None
    if language == 'text' and above and above.takes_output():
        above.shown, above.shown_line = token.content, line
        return
    file = None
    if before and before[-1].type == 'paragraph_close':
        named = FILE.search(before[-2].content)
        file = named and named[1]
    page.blocks.append(Block(line, language, token.content, file))
    page.blocks[-1].reason = _reason(token.content, where)


def _reason(code: str, where: str) -> str | None:
    """Return the reason of a mark in the first line of a block."""
    first = code.partition('\n')[0].strip()
    return reason_in(first, where) if first.startswith('#') else None


def reason_in(comment: str, where: str) -> str | None:
    """Return the reason that a comment gives for not running a command; None if it gives none.

    Raises:
        PageError: The comment is nearly a mark: without a reason, or in other words.
    """
    mark = MARK.fullmatch(comment.strip())
    if mark:
        return mark[1]
    if NEARLY_A_MARK.match(comment.strip()):
        raise PageError(
            f'{where}: write the mark as "# not run here: REASON", not {comment.strip()!r}'
        )
    return None
