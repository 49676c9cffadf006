"""Find the networks that a file of NNabla weights belongs to, by the names and shapes in it."""

from collections.abc import Iterable
from contextlib import suppress

from models import registry
from models.convert import reference_name
from models.convert.matching import Shapes, match_arrays, network_shapes
from models.convert.recognition import other_class_count
from models.convert.structures import shapes_with_structure, structure_of
from models.errors import ModelError
from models.family import Family
from models.structure import SINGLE


def networks_with_parameters(weights: Shapes) -> tuple[list[str], str]:
    """Find the networks with exactly these parameters.

    Args:
        weights: Shapes by NNabla's names.

    Returns:
        The names of the networks, and a text with their number of classes, or their inputs and
        tasks, if they are not the default ones.
    """
    try:
        shapes = {reference_name(n): s[1:2] if '/bn/' in n else s for n, s in weights.items()}
    except ModelError:
        return [], ''
    theirs = structure_of([shapes])
    own = (
        {name: network_shapes(name) for name in _similar(shapes)}
        if theirs == SINGLE
        else shapes_with_structure([shapes], theirs)
    )
    alike = [name for name, others in own.items() if others.keys() == shapes.keys()]
    names = [name for name in alike if own[name] == shapes]
    if names:
        return names, '' if theirs == SINGLE else f' with {theirs.words()}'
    for name in alike if theirs == SINGLE else ():
        found = match_arrays([shapes], own[name])
        classes = other_class_count(name, [shapes], found)
        if classes and network_shapes(name, classes) == shapes:
            return [name], f' with {classes} classes'
    return [], ''


def _similar(shapes: Shapes) -> list[str]:
    """Return the networks of the families that have more than half of the outermost scopes.

    The outermost scopes of ``shapes`` are searched for in the last network of each family.
    """

    def outermost(names: Iterable[str]) -> set[str]:
        return {name.partition('.')[0] for name in names}

    own = outermost(shapes)
    return [
        name
        for family in registry.FAMILIES
        if 2 * len(own & outermost(_shapes_of_last(family))) > len(own)
        for name, hyper in family.variants.items()
        if hyper  # d3net has no hyper-parameters of its own, so it is no single network
    ]


def _shapes_of_last(family: Family) -> Shapes:
    """Return the shapes of a family's last network that needs no config, else {}."""
    for name in reversed(list(family.variants)):
        with suppress(ModelError):
            return network_shapes(name)
    return {}
