"""Find Markdown that GitHub and the site show differently, or that one of them does not know.

The site's Python-Markdown begins a list or a table after an empty line only, and takes what is
below an item of a list only if it is indented by four columns.
"""

import re

from markdown_it.token import Token

TAGS = re.compile(r'<!--.*-->|</?(details|summary)( markdown="1")?>', re.DOTALL)
ONLY_ON_THE_SITE = {
    r'^(!!!|\?\?\?\+?) \w': 'an admonition, which GitHub does not know',
    r'\{[:#.][^}]*\}$': 'a list of attributes, which GitHub does not know',
}
APART = {'bullet_list_open': 'list', 'ordered_list_open': 'list', 'table_open': 'table'}


def faults(tokens: list[Token], text: str) -> list[tuple[int, str]]:
    """Return the faults of a page, each with its line."""
    found, lines, depth = [], text.split('\n'), 0
    for token in tokens:
        first = token.map[0] if token.map else 0
        if token.type in ('bullet_list_open', 'ordered_list_open'):
            depth += 1
        elif token.type in ('bullet_list_close', 'ordered_list_close'):
            depth -= 1
        what = _fault(token, lines[first], lines[first - 1] if first else '', depth)
        if what:
            found.append((first + 1, what))
    return found


def _fault(token: Token, line: str, before: str, depth: int) -> str | None:
    """Return what is wrong with a token, from its line and the one before it."""
    if token.type == 'html_block' and '<' in TAGS.sub('', token.content):
        return f'HTML, {token.content.strip()!r}; comments and <details> are allowed'
    if token.type == 'inline':
        for child in token.children or ():
            if child.type == 'html_inline' and not TAGS.fullmatch(child.content):
                return f'HTML, {child.content!r}; write &lt; for <'
        for pattern, what in ONLY_ON_THE_SITE.items():
            if re.search(pattern, token.content):
                return what
    if token.type in APART and not token.level and before.strip():
        return f'a {APART[token.type]} without an empty line before it'
    indented = len(line) - len(line.lstrip())
    if token.type == 'list_item_open' and indented != 4 * (depth - 1):
        return f'an item of a list indented by {indented}, not {4 * (depth - 1)}'
    if token.type == 'paragraph_open' and depth and not before.strip() and indented < 4 * depth:
        begins_item = re.match(r' *([-*+]|\d+[.)]) ', line)
        return (
            None
            if begins_item
            else f'a paragraph of a list indented by {indented}, not {4 * depth}'
        )
    return None
