"""Read the blocks of code of a Markdown page, and refuse what a reader or a test cannot use."""

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from docs import style

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

    Attributes:
        line: Line of the fence, from 1.
        language: Its language.
        code: Its text.
        file: Path of the file that it is, as the paragraph above says; None if it is none.
        shown: The block of text directly below: what the commands print.
        shown_line: Line of that block.
        reason: Why the whole block is not run.
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


def tokens_of(text: str) -> list[Token]:
    """Return the tokens of a page, as GitHub reads it."""
    return MarkdownIt('commonmark').enable('table').parse(text)


def parse(text: str, name: str) -> Page:
    """Read the text of a page."""
    tokens = tokens_of(text)
    found = (f'{name}, line {line}: {what}' for line, what in style.faults(tokens, text))
    page = Page(name, [], list(found))
    for index, token in enumerate(tokens):
        if token.type in ('code_block', 'fence'):
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
    if language in ('text', 'json') and above and above.takes_output():
        above.shown, above.shown_line = token.content, line
        return
    file = None
    if before and before[-1].type == 'paragraph_close':
        named = FILE.search(before[-2].content)
        file = named and named[1]
    page.blocks.append(Block(line, language, token.content, file))
    first = token.content.partition('\n')[0]
    if not file and (MARK.fullmatch(first) or language != 'sh'):  # split() reads those of sh
        page.blocks[-1].reason = reason_in(first, where)


def reason_in(comment: str, where: str) -> str | None:
    """Return the reason that a comment gives for not running a command; None if it gives none.

    Raises:
        PageError: The comment is nearly a mark: without a reason, or in other words.
    """
    comment = comment.strip()
    mark = MARK.fullmatch(comment)
    if mark:
        return mark[1]
    if NEARLY_A_MARK.match(comment):
        raise PageError(f'{where}: write the mark as "# not run here: REASON", not {comment!r}')
    return None
