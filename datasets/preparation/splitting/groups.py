"""Group images by their names, so that a split separates no images of one scene."""

import re
from collections.abc import Sequence

from common.errors import UserError
from common.terminal.short_repr import short_text


def group_by_name(names: Sequence[str], pattern: str | None) -> list[list[int]]:
    """Return the indices of the names of each group, in the order of the first names.

    Args:
        names: The names of all images.
        pattern: A regular expression that is searched in each name. Equal texts in its parentheses,
            or in the whole match where no parentheses take part, make a group. None: each image is
            a group.

    Raises:
        UserError: It is no regular expression, does not match each name, or makes one group only.
    """
    if pattern is None:
        return [[index] for index in range(len(names))]
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise UserError(
            f"--group {pattern}: is no regular expression ({error}); try '(.*)_', which takes all "
            'before the last underscore'
        ) from error
    groups: dict[tuple[str | None, ...], list[int]] = {}
    for index, name in enumerate(names):
        found = compiled.search(name)
        if found is None:
            raise UserError(
                f'--group {pattern}: does not match {short_text(name)}; write an expression that '
                f"matches each name, such as '{pattern}|.*' to leave the others alone"
            )
        parts = found.groups()
        has_text = any(part is not None for part in parts)
        groups.setdefault(parts if has_text else (*parts, found[0]), []).append(index)
    if len(groups) == 1 and len(names) > 1:
        raise UserError(
            f'--group {pattern}: all {len(names)} images are one group, as in '
            f'{short_text(names[0])}; write an expression that takes less of the name'
        )
    return list(groups.values())
