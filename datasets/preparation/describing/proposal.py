"""Propose the classes of masks from the values and colours in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import ImageColor

from common.class_maps import MAX_CLASSES
from datasets import mask_advice
from datasets.info import IGNORE, DataError
from datasets.preparation.describing.mask_values import (
    Colour,
    Count,
    Key,
    MaskContents,
    add_counts,
)
from datasets.readers.folder_description import COLOURS, INDICES
from datasets.registry import READERS

MANY = 8  # from so many values on, traces of values are judged
TRACE = 1e-4  # share of the pixels
MANY_CLASSES = 60  # more can be ids of instances
_LEAST_KNOWN = 3  # colours that show which published data set has them


@dataclass(frozen=True)
class ProposedClass:
    """A class to be described.

    Attributes:
        name: A name until the user has a better one.
        colour: Its colour (red, green, blue); None if masks have none.
        count: How often it occurs.
    """

    name: str
    colour: Colour | None
    count: Count


@dataclass(frozen=True)
class Proposal:
    """The classes of masks.

    Attributes:
        classes: The classes, in the order of their indices.
        label_format: As in ``dataset.yaml``.
        ignore: As in ``dataset.yaml``: values and colours.
        remarks: What the user has to decide, a line each.
    """

    classes: Sequence[ProposedClass]
    label_format: str
    ignore: Sequence[int | Colour] = ()
    remarks: Sequence[str] = field(default=())


def propose(contents: MaskContents) -> Proposal:
    """Return the classes of masks.

    Raises:
        DataError: The masks have too many colours, or no class.
    """
    grey = _grey_of_rgb(contents.colours)
    if grey is not None and not contents.indexed:
        return _from_values(_merged(contents.grey, grey), contents)
    if contents.indexed and not contents.grey and not contents.colours:
        found = _from_palette(contents)
        if found is not None:
            return found
    return _from_colours(contents)


def _grey_of_rgb(colours: Mapping[Colour, Count]) -> dict[int, Count] | None:
    """Return counts of RGB colours by their grey level; None if some are not grey."""
    if any(len(set(colour)) > 1 for colour in colours):
        return None
    return {colour[0]: count for colour, count in colours.items()}


def _merged(one: Mapping[Key, Count], other: Mapping[Key, Count]) -> dict[Key, Count]:
    """Return the sums of counts, sorted."""
    result: dict[Key, Count] = {}
    add_counts(result, one)
    add_counts(result, other)
    return dict(sorted(result.items()))


def _from_values(counts: dict[int, Count], contents: MaskContents) -> Proposal:
    """Return the classes of grey masks: class indices, or grey levels as colours."""
    rest = [value for value in counts if value != IGNORE]
    if not rest:
        raise DataError(f'{contents.largest}: all pixels of the masks are 255, which is no class')
    if list(counts) == [0, IGNORE]:
        names = {0: 'background', IGNORE: 'object'}
        remark = (
            '255 is described as the class object; if it marks ignored pixels, write classes: '
            '[background], ignore: [255] and label_format: indices'
        )
        return Proposal(_grey_classes(counts, names), COLOURS, (), (remark,))
    ignores = IGNORE in counts and IGNORE - rest[-1] > 2 * max(np.diff([0, *rest]))
    values = rest if ignores else list(counts)
    ignore = (IGNORE,) if ignores else ()
    if values == list(range(len(values))):
        _refuse_blends(counts, contents, sum(not count.solid for count in counts.values()))
        classes = [ProposedClass(f'class {value}', None, counts[value]) for value in values]
        many = len(values) > MANY_CLASSES
        remarks = (f'{len(values)} values: {mask_advice.IF_INSTANCES}',) if many else ()
        return Proposal(classes, INDICES, ignore, remarks)
    _refuse_blends(counts, contents, _traces(counts))
    names = {value: f'class {value}' for value in values}
    return Proposal(_grey_classes(counts, names), COLOURS, ignore)


def _grey_classes(counts: Mapping[int, Count], names: Mapping[int, str]) -> list[ProposedClass]:
    return [ProposedClass(name, (v, v, v), counts[v]) for v, name in names.items()]


def _from_palette(contents: MaskContents) -> Proposal | None:
    """Return the classes of palette masks whose indices are class indices; None for others.

    Indices with gaps are better read by their colours, which leaves no class without a pixel. That
    is impossible where index 255, for ignored pixels, has the colour of another one.
    """
    counts = dict(sorted(contents.indexed.items()))
    ignored = counts.pop(IGNORE, None)
    shown = [contents.shown[index] for index in counts]
    colours = [next(iter(each)) for each in shown]
    if not counts or any(len(each) > 1 for each in shown):
        return None
    different = len(set(colours)) == len(colours)
    hidden = ignored is not None and not contents.shown[IGNORE].keys().isdisjoint(colours)
    whole = list(counts) == list(range(len(counts)))
    if not whole and not hidden:
        return None
    ignore, names = (IGNORE,) if ignored else (), dict(zip(counts, _names(colours)))
    if whole and different:
        rows = zip(names.values(), colours, counts.values())
        return Proposal([ProposedClass(*each) for each in rows], INDICES, ignore)
    classes = [
        ProposedClass(names.get(index, f'unused {index}'), None, counts.get(index, Count()))
        for index in range(max(counts) + 1)
    ]
    return Proposal(classes, INDICES, ignore)


def _from_colours(contents: MaskContents) -> Proposal:
    """Return the classes of colour masks, with the colours that others have in their palettes."""
    others: dict[Colour, Count] = {}
    ignore: list[int | Colour] = []
    for value, count in contents.grey.items():
        others.setdefault((value, value, value), Count()).add(count)
    for index, shown in contents.shown.items():
        if index == IGNORE:
            ignore.append(IGNORE)
        else:
            add_counts(others, shown)
    counts = _merged(contents.colours, others)
    _refuse_blends(counts, contents, _traces(counts))
    names = _names(list(counts))
    classes = [ProposedClass(name, *each) for name, each in zip(names, counts.items())]
    move = 'if a colour means pixels without a class, move it from classes to ignore'
    remarks = () if ignore else (move,)
    return Proposal(classes, COLOURS, ignore, remarks)


def _traces(counts: Mapping[Key, Count]) -> int:
    """Return how many colours are nowhere alone, or have very few pixels."""
    total = sum(count.pixels for count in counts.values())
    return sum(not each.solid or each.pixels < TRACE * total for each in counts.values())


def _refuse_blends(counts: Mapping[Key, Count], contents: MaskContents, traces: int) -> None:
    """Raise ``DataError`` for masks whose edges have colours between those of the classes."""
    blended = len(counts) > MANY and 2 * traces > len(counts)
    if len(counts) > MAX_CLASSES + 1 or blended:
        found = f'{len(counts)} colours' + (f', {traces} of them in traces' if traces else '')
        raise DataError(
            f'{contents.largest}: the masks have {found}, as if JPEG, resizing or antialiasing had '
            'mixed those of the classes; save them anew as PNG from where they were drawn, without '
            f'antialiasing, and resize by nearest neighbour; {mask_advice.IF_INSTANCES}'
        )


def _names(colours: Sequence[Colour]) -> list[str]:
    """Return the names that a published data set has for colours, else those of the colours."""
    for reader in READERS.values():
        known = dict(zip(reader.INFO.palette, reader.INFO.classes))
        found = [colour in known for colour in colours]
        others = sum(not known_one and set(c) != {0} for known_one, c in zip(found, colours))
        if not others and sum(found) >= _LEAST_KNOWN:
            return _different([known.get(colour, 'black') for colour in colours])
    named = {name: ImageColor.getrgb(text) for name, text in ImageColor.colormap.items()}
    table = np.array(list(named.values()), np.int32)
    nearest = [int(((table - colour) ** 2).sum(axis=1).argmin()) for colour in colours]
    return _different([list(named)[index] for index in nearest])


def _different(names: Sequence[str]) -> list[str]:
    """Return the names with a number after those that were there before."""
    result: list[str] = []
    for name in names:
        number, new = 2, name
        while new in result:
            new, number = f'{name} {number}', number + 1
        result.append(new)
    return result
