"""Names and colours of a network's classes, and their storage with weights.

Files of weights carry them as HDF5 attributes, which NNabla's and Sony's loaders do not read. So
results keep the names of the training where the data set is no longer at hand.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.errors import UserError
from common.reading import json_text

# Texts in JSON: HDF5 stores a text of any length outside of the attribute, whose limit is 64 KiB.
NAMES_ATTRIBUTE, COLOURS_ATTRIBUTE = ATTRIBUTES = ('class_names', 'class_colours')


@dataclass(frozen=True)
class ClassTable:
    """The classes of a network.

    Attributes:
        names: Names by class index.
        colours: (red, green, blue), 0 to 255, by class index; empty if they are unknown.
    """

    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...] = ()


def attributes(table: ClassTable) -> dict[str, str]:
    """Return the HDF5 attributes that store a table in a file of weights."""
    return {
        NAMES_ATTRIBUTE: json.dumps(table.names),
        COLOURS_ATTRIBUTE: json.dumps(table.colours),
    }


def from_attributes(found: Mapping[str, Any]) -> ClassTable | None:
    """Return the table in a file's attributes; None if the names are absent or invalid.

    Colours that are absent or invalid are left out.
    """
    names, colours = _texts(found.get(NAMES_ATTRIBUTE)), _texts(found.get(COLOURS_ATTRIBUTE))
    if not names or not all(isinstance(name, str) for name in names):
        return None
    if len(colours) != len(names) or not all(map(_is_colour, colours)):
        colours = ()
    return ClassTable(tuple(names), tuple((r, g, b) for r, g, b in colours))


def first_difference(one: Sequence[str], other: Sequence[str]) -> int | None:
    """Return the first class index at which two lists of names differ; None if they are equal."""
    if tuple(one) == tuple(other):
        return None
    pairs = enumerate(zip(one, other))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def _texts(attribute: object) -> Sequence[Any]:
    """Return the list that an attribute stores; an empty one if it stores none."""
    if not isinstance(attribute, str):
        return ()
    try:
        return json_text.parse(attribute, 'attribute', list)
    except UserError:
        return ()


def _is_colour(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(type(part) is int and 0 <= part <= 255 for part in value)
    )
