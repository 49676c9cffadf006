"""The block ``published`` of a config file: the score of the original, which has no effect."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.sections import Section, SectionError, config_key, keys_of
from common.terminal.short_repr import short_repr, short_text

BLOCK_KEY = 'published'


@dataclass(frozen=True, kw_only=True)
class PublishedScore(Section):
    """The score that was published for the training of a config file, and its source."""

    miou: float = config_key(meaning='mIoU in percent', least=0, most=100)
    split: str | None = config_key(
        None, 'split of the data set on which it was measured', default_text='not published'
    )
    views: str | None = config_key(
        None, 'sizes at which the network saw the images', default_text="the image's own size"
    )
    source: str = config_key(meaning='where it was published: a repository and a file')

    def as_values(self) -> dict[str, Any]:
        """Return the block as it stands in a file."""
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in given.items() if value is not None}


def parse_block(block: object, path: Path) -> PublishedScore | None:
    """Return the score of a file's block; None if it has none.

    Args:
        block: The unchecked value of the key ``published``.
        path: The file, for messages.

    Raises:
        UserError: The block is no mapping, or a key in it is unknown, missing or invalid.
    """
    if block is None:
        return None
    known = keys_of(PublishedScore)
    if not isinstance(block, Mapping):
        raise UserError(
            f'{BLOCK_KEY}: must consist of "key: value" lines with {", ".join(known)}, not '
            f'{short_repr(block)} ({path})'
        )
    for name in block:
        if name not in known:
            close = difflib.get_close_matches(short_text(name), known, n=1, cutoff=0)
            raise UserError(
                f'{BLOCK_KEY}: {short_text(name)}: unknown key; the nearest is {close[0]} ({path})'
            )
    try:
        return PublishedScore.of(block)
    except SectionError as error:
        raise UserError(f'{BLOCK_KEY}: {error} ({path})') from error
