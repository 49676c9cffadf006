"""Initialise a training with the weights of a backbone, a whole network, or parts of another."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import nnabla as nn
from numpy.typing import NDArray

from layers.workspace import NNABLA_LOCK
from models.convert import reference_name
from models.errors import ModelError
from models.registry import Network
from models.structure import SINGLE
from models.weights.h5 import LoadReport, load, read

Arrays = Mapping[str, NDArray[Any]]

SCOPES_OF_BLOCK = 3  # outermost scopes by which blocks() groups names


def initialise(
    source: str | os.PathLike[str], num_classes: int, network: Network | None = None
) -> LoadReport:
    """Initialise a training with the weights of a backbone or of a whole network.

    This function loads like :func:`load` without ``strict``, except for layers with one output map
    per class: they keep their initial values if the file has them for another number of classes.
    The report lists them under ``missing``.

    A network with several inputs or tasks can start from a file with fewer: blocks of an encoder
    are copied into each stream, and the first decoder into each decoder that has no own one in the
    file, where shapes agree.

    Args:
        source: An NNabla ``.h5`` file.
        num_classes: Number of classes of the registered network.
        network: The registered network, if it may have several inputs or tasks.

    Returns:
        The names that were loaded, missing, extra and copied.

    Raises:
        ModelError: Another shape differs, no name matches, or the file cannot be read.
    """
    arrays = read(source)
    with NNABLA_LOCK:
        own = nn.get_parameters(grad_only=False)

    def is_of_other_classes(name: str) -> bool:
        shape = own[name].shape
        return arrays[name].shape[1:] == shape[1:] and len(arrays[name]) != shape[0] == num_classes

    copied: dict[str, str] = {}
    if network is not None and network.info.structure != SINGLE:
        chosen, copied = _with_copies(arrays, own, network, str(source))
    else:
        chosen = {n: a for n, a in arrays.items() if n not in own or not is_of_other_classes(n)}
    try:
        report = load(chosen, strict=False)
    except ModelError as error:
        raise ModelError(str(error).replace('the given arrays', str(source), 1)) from error
    return replace(report, copied=copied)


def blocks(names: Iterable[str]) -> list[str]:
    """Return the scopes of parameters, each with the number of its parameters in brackets."""
    counts: dict[str, int] = {}
    for name in names:
        scopes = name.split('/')[:-2]  # without conv/W or bn/gamma
        block = '/'.join(scopes[:SCOPES_OF_BLOCK])
        counts[block] = counts.get(block, 0) + 1
    return [f'{block} ({count})' for block, count in counts.items()]


def _with_copies(
    arrays: Arrays, own: Mapping[str, nn.Variable], network: Network, source: str
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return the array for each parameter of a network with several inputs or tasks.

    Args:
        arrays: Arrays of the file.
        own: Registered parameters.
        network: The registered network.
        source: The file, for messages.

    Returns:
        Arrays by the network's names, with those that only the file has, and the names in the file
        of the parameters that it has under another name.

    Raises:
        ModelError: A block of the encoder has another shape.
    """
    original = network.family.original
    other_names = original and original.initial_names
    chosen: dict[str, NDArray[Any]] = {}
    copied: dict[str, str] = {}
    for name, parameter in own.items():
        possible = (name, *(other_names(name) if other_names else ()))
        present = [each for each in possible if each in arrays]
        fitting = [each for each in present if arrays[each].shape == parameter.shape]
        if fitting:
            chosen[name] = arrays[fitting[0]]
            if fitting[0] != name:
                copied[name] = fitting[0]
        elif present and original is not None and original.encoder.match(reference_name(name)):
            theirs, ours = arrays[present[0]].shape, parameter.shape
            raise ModelError(
                f'{source} is of another encoder: {present[0]} is {"x".join(map(str, theirs))}, '
                f'and {name} of {network.name} is {"x".join(map(str, ours))}; choose weights of '
                'the same encoder'
            )
    used = set(copied.values())
    return {**{n: a for n, a in arrays.items() if n not in own and n not in used}, **chosen}, copied
