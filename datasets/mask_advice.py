"""Advice on mask files whose values or colours have no meaning."""

import json
from collections.abc import Sequence

import numpy as np

from datasets.info import IGNORE

_MAX_SHOWN = 4  # classes in a suggestion
_SEMANTIC = 'export semantic masks, with the class of each pixel instead of the number of an object'
IF_INSTANCES = f'if they are ids of instances, {_SEMANTIC}'


def for_values(used: np.ndarray, classes: Sequence[str], palette: bool) -> str:
    """Return what may be wrong with values that are not all class indices, and the remedy.

    Args:
        used: The values of the file, sorted.
        classes: Names of the classes.
        palette: Whether these are the indices of a palette.
    """
    values = [value for value in used.tolist() if value != IGNORE]
    count = len(classes)
    if values == list(range(1, count + 1)) or (values[-1] == count and values[0] in (0, 1)):
        shown = _colours(classes, range(1, count + 1))
        ignored = [[level] * 3 for level in (0, IGNORE) if level in used]
        also = f', ignore: {ignored}' if ignored else ''
        minus_1 = (
            'save the values minus 1'
            if palette
            else f'write {shown}{also} and label_format: colours into dataset.yaml'
        )
        if 0 not in values:
            return f'do the values start at 1? Then {minus_1}'
        if 'background' in map(str.lower, classes):
            unlisted, names = count, [*classes, 'other']
        else:
            unlisted, names = 0, ['background', *classes]
        return (
            f'is {unlisted} a class that is not listed? Then write classes: '
            f'[{", ".join(map(quoted, names))}] into dataset.yaml; if 0 means ignored pixels, '
            f'{minus_1}'
        )
    if len(used) > count + 1:
        return f'are they ids of instances? Then {_SEMANTIC}'
    if palette:
        return 'does the file belong to another data set?'
    levels = used.tolist()
    names = [*classes, *('...',) * (len(levels) - count)]
    return (
        'are they the grey levels of the classes? Then write these as colours into dataset.yaml: '
        f'{_colours(names, levels)}; {IF_INSTANCES}'
    )


def for_two_values(classes: Sequence[str]) -> str:
    """Return the remedy for masks of 0 and 255 only."""
    if len(classes) > 2:
        return 'give each class a value of its own, or write ignore: [255] if this is right'
    names = classes if len(classes) == 2 else ('background', *classes)
    return (
        f'if 255 is {names[1]}, write {_colours(names, (0, 255))} into dataset.yaml; if it is '
        'ignored, write ignore: [255]'
    )


def for_colours(colours: np.ndarray, classes: Sequence[str]) -> str:
    """Return the remedy for a colour image of (H, W, 3) where classes have no colours."""
    found = _distinct(colours)
    if len(found) > len(classes) + 1:
        count = len(found)
        return f'it has {count} colours for {len(classes)} classes; {IF_INSTANCES}'
    shown = ', '.join(str(colour) for colour in found.tolist()[:_MAX_SHOWN])
    return f'write classes: {{name: [red, green, blue], ...}}; this file has {shown}'


def for_unknown_colours(colours: np.ndarray, known: int) -> str:
    """Return a hint if an image of (H, W, 3) has more colours than are known; else nothing."""
    found = len(_distinct(colours))
    if found <= known + 1:
        return ''
    return f'; it has {found} colours for {known} known ones; {IF_INSTANCES}'


def _distinct(colours: np.ndarray) -> np.ndarray:
    return np.unique(colours.reshape(-1, 3), axis=0)


def _colours(names: Sequence[str], levels: Sequence[int]) -> str:
    pairs = [f'{quoted(name)}: [{level}, {level}, {level}]' for name, level in zip(names, levels)]
    more = ['...'] if len(pairs) > _MAX_SHOWN else []
    return f'classes: {{{", ".join(pairs[:_MAX_SHOWN] + more)}}}'


def quoted(name: str) -> str:
    """Return a name as YAML reads it as text, quoted if it has characters with a meaning."""
    plain = all(character.isalnum() or character in ' _-.' for character in name)
    begins = name[:1].isalnum() or name[:1] in ('_', '.')
    ends = name == name.strip()
    return name if plain and begins and ends else json.dumps(name, ensure_ascii=False)
