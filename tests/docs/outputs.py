"""Compare what a page shows with what was printed."""

import re

ANY_LINES = '...'
LOG_TIME = re.compile(r'^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (?=\[nnseg\])', re.MULTILINE)
LOG_LINE = re.compile(rf'{LOG_TIME.pattern}.*\n', re.MULTILINE)


def matches(shown: str, printed: str, any_numbers: bool = False) -> bool:
    """Return whether a page's text shows what was printed.

    A page that shows no line of the log shows all other lines. The times of the log do not count,
    nor do spaces at the ends of lines.

    Args:
        shown: Text of the page; ``...`` stands for anything in a line, a line ``...`` for any
            lines.
        printed: What the commands printed.
        any_numbers: Numbers are those of a longer command; so are the spaces between columns.
    """
    if LOG_TIME.search(shown) is None:
        printed = LOG_LINE.sub('', f'{printed}\n')
    shown, printed = LOG_TIME.sub('', shown), LOG_TIME.sub('', printed)
    pattern = ''.join(_pattern(line, any_numbers) for line in _lines(shown).splitlines())
    return re.fullmatch(pattern, _lines(printed)) is not None


def _pattern(line: str, any_numbers: bool) -> str:
    """Return the regular expression of a shown line with its end."""
    if line.strip() == ANY_LINES:
        return r'(?:.*\n)*?'
    text = '.*'.join(re.escape(piece) for piece in line.split(ANY_LINES))
    if any_numbers:
        text = re.sub(r'(?:\\ )+', '[ ]+', re.sub(r'\d+', lambda _: r'\d+', text))
    return f'{text}\n'


def _lines(text: str) -> str:
    """Return a text without spaces at the ends of lines and empty lines at its end."""
    return '\n'.join(line.rstrip() for line in text.splitlines()).rstrip('\n') + '\n'


def shows_an_error(shown: str | None) -> bool:
    """Return whether a page shows the error line of a command, which then has to fail."""
    return shown is not None and any(line.startswith('error: ') for line in shown.splitlines())
