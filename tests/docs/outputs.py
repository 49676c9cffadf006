"""Compare what a page shows with what was printed."""

import re

ANY_LINES = '...'
LOG_TIME = re.compile(r'^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (?=\[nnseg\])', re.MULTILINE)
LOG_LINE = re.compile(rf'{LOG_TIME.pattern}.*\n', re.MULTILINE)


def matches(shown: str, printed: str, any_numbers: bool = False) -> bool:
    """Return whether a page's text shows what was printed.

    A page that shows no line of the log shows all other lines. The times of the log do not count.

    Args:
        shown: Text of the page; ``...`` stands for anything in a line, a line ``...`` for any lines.
        printed: What the commands printed.
        any_numbers: Digits and the spaces around them are those of a longer command.
    """
    if LOG_TIME.search(shown) is None:
        printed = LOG_LINE.sub('', f'{printed}\n')
    shown, printed = LOG_TIME.sub('', shown), LOG_TIME.sub('', printed)
    return re.fullmatch(_pattern(shown, any_numbers), _lines(printed)) is not None


def _pattern(shown: str, any_numbers: bool) -> str:
    parts = []
    for line in _lines(shown).splitlines():
        if line.strip() == ANY_LINES:
            parts.append(r'(?:.*\n)*?')
            continue
        pieces = (re.escape(piece) for piece in line.split(ANY_LINES))
        text = '.*'.join(pieces)
        if any_numbers:
            text = re.sub(r'(?:\\ )+', r'\\s+', re.sub(r'\d+', r'\\d+', text))
            text = text.replace('\\s+', '[ ]+')
        parts.append(f'{text}\n')
    return ''.join(parts)


def _lines(text: str) -> str:
    """Return a text without spaces at the ends of lines and empty lines at its end."""
    lines = [line.rstrip() for line in text.splitlines()]
    return '\n'.join(lines).rstrip('\n') + '\n'


def fails_as_shown(shown: str | None) -> bool:
    """Return whether a page shows the error line of a command, which then has to fail."""
    return shown is not None and any(line.startswith('error: ') for line in shown.splitlines())
