"""Recognise the inputs and tasks of checkpoints, and the networks that can have them."""

from contextlib import suppress

from models import registry
from models.convert.matching import Files, Shapes, match_arrays, network_shapes
from models.errors import ModelError
from models.family import Family
from models.structure import SINGLE, Structure


def structure_of(files: Files) -> Structure:
    """Return the inputs and tasks of a checkpoint; ``SINGLE`` if no family has several."""
    shapes = {name: shape for each in files for name, shape in each.items()}
    for original in registry.originals():
        if original.structure and (found := original.structure(shapes)) != SINGLE:
            return found
    return SINGLE


def structure_for(family: Family, structure: Structure) -> Structure:
    """Return the structure for a family that can have it, else ``SINGLE``."""
    able = family.original is not None and family.original.structure is not None
    return structure if able else SINGLE


def shapes_with_structure(files: Files, structure: Structure) -> dict[str, Shapes]:
    """Return the shapes, by name, of the networks that files of several inputs or tasks may be of.

    Building all networks with these inputs and tasks would take a minute. So only those are built
    that have the most arrays in common with the files even without them.

    Args:
        files: Shapes of the arrays of each file.
        structure: Their inputs and tasks.
    """
    common = {
        name: len(match_arrays(files, network_shapes(name)).sources)
        for family in registry.FAMILIES
        if structure_for(family, structure) == structure
        for name in family.variants
    }
    most = max(common.values(), default=0)
    found: dict[str, Shapes] = {}
    for name in common:
        if common[name] == most:
            with suppress(ModelError):  # the network cannot have these inputs and tasks
                found[name] = network_shapes(name, None, structure)
    return found
