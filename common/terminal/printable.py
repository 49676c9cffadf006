"""Show control characters in texts as escapes, so that they do not control a terminal.

Names and contents of files, answers of servers and messages of libraries can hold them: sequences
that recolour, move or answer for the user, and marks that change the direction of the text. The
module uses the standard library only.
"""

from __future__ import annotations  # lets an older Python import this module

import re

# Control characters of ASCII and Latin-1, marks that change the direction of text, separators of
# lines, and the bytes of a name that is no UTF-8, which Python keeps as surrogates.
_OTHERS = '\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff'
CONTROL = re.compile(f'[\x00-\x08\x0b-\x1f{_OTHERS}]')  # all but tabs and line breaks
CONTROL_AND_LAYOUT = re.compile(f'[\x00-\x1f{_OTHERS}]')


def printable(text: str) -> str:
    r"""Return a text whose control characters are escapes such as ``\x1b``.

    Tabs and line breaks stay, and so do all visible characters of all languages.
    """
    return CONTROL.sub(_escape, text)


def one_line(text: object) -> str:
    """Return a name as :func:`printable` does, with tabs and line breaks as escapes, too."""
    return CONTROL_AND_LAYOUT.sub(_escape, str(text))


def _escape(found: re.Match[str]) -> str:
    return found[0].encode('unicode_escape').decode()
