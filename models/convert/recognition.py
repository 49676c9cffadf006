"""Explain why a checkpoint or a file of weights does not match the requested network."""

import difflib

from common.class_maps import MAX_CLASSES
from common.terminal.name_list import first_names
from models import registry
from models.convert.matching import (
    Files,
    Shapes,
    StateMatch,
    is_encoder_of,
    match_arrays,
    network_shapes,
    shapes_of,
)
from models.convert.structures import shapes_with_structure, structure_for, structure_of
from models.errors import ModelError
from models.registry import Network
from models.structure import SINGLE, Structure

# Checkpoints that fit no network here: the end of one of their keys, its shape, and the reason.
UNSUPPORTED_CHECKPOINTS = (
    (
        'conv1.weight',
        (64, 3, 7, 7),
        'it is a torchvision ResNet, which fits no network here: its stem is one 7x7 convolution, '
        "the networks' stems are three 3x3 convolutions, as in CSAIL's resnet18-imagenet.pth and "
        "OpenMMLab's resnet18_v1c",
    ),
    (
        'trunk_output.block4.block4-0.proj.0.weight',
        (400, 160, 1, 1),
        "it is torchvision's RegNetX-400MF, whose last stage has 400 channels; the networks here "
        "use pycls's, with 384 channels (RegNetX-400MF_dds_8gpu.pyth)",
    ),
)
MIN_MATCHED_SHARE = 0.3  # share of the files' arrays that must match for --partial
MAX_MISMATCHED_SHARE = 0.1  # number of mismatches / arrays, for a network to be suggested
MAX_CLASSIFIER_ARRAYS = 30  # that a file of an encoder has besides the encoder's
MAX_CLASS_COUNTS = 16  # first dimensions that can be numbers of classes; seven is the most


def is_partial_network(network: Network, files: Files, found: StateMatch) -> bool:
    """Return whether ``--partial`` can convert files: enough arrays match, and only heads differ.

    Args:
        network: The requested network.
        files: Shapes of the arrays of each file.
        found: The match of the files with the network. Arrays of the wrong shape are accepted only
            as heads for another number of classes.
    """
    fitting = len(found.sources) >= MIN_MATCHED_SHARE * sum(map(len, files))
    if not fitting or found.duplicates or unsupported_reason(files):
        return False
    if not network.info.structure.is_single:
        return not found.wrong_shape
    return (
        not found.wrong_shape
        or other_class_count(network.name, files, found) is not None
        or class_count_beyond_limit(network, files, found) is not None
    )


def explain_mismatch(network: Network, files: Files, found: StateMatch) -> str:
    """Return the most specific reason why files do not match a network.

    Args:
        network: The requested network.
        files: Shapes of the arrays of each file.
        found: The match of the files with the network.
    """
    if reason := unsupported_reason(files):
        return reason
    if found.duplicates:
        some = first_names(found.duplicates)
        return f'{len(found.duplicates)} arrays occur twice, in two files or two spellings: {some}'
    if reason := _other_structure(network, files, found):
        return reason
    name = network.name
    single = network.info.structure.is_single
    classes = other_class_count(name, files, found) if single else None
    if classes:
        return (
            f'it has {classes} classes, not {network.info.num_classes}; pass '
            f'{_options(name, classes)}, or --partial, which skips these heads'
        )
    beyond = class_count_beyond_limit(network, files, found) if single else None
    if beyond:
        return (
            f'it has {beyond} classes, but num_classes must be at most {MAX_CLASSES}; --partial '
            'skips these heads'
        )
    best = recognise(files, name)
    if best and best[2].mismatch_count < found.mismatch_count:
        names, classes, other = best
        structure = structure_of(files)
        how = f'differs in {other.mismatch_count} arrays from'
        if other.is_complete:
            how = 'fits'
        elif is_encoder_of(names[0], other):
            how = 'is the encoder of'
        alike = f' ({", ".join(names[1:4])} have the same shapes)' if names[1:] else ''
        options = _options(names[0], classes, structure)
        return f'it is not of {name}, and {how} {names[0]}: {options}{alike}'
    halves = {missing.partition('.')[0] for missing in found.missing}
    if halves in ({'encoder'}, {'decoder'}) and not found.wrong_shape and not found.extra:
        return f'it lacks the {halves.pop()}; pass the file of that as well, with another -i'
    partial = ''
    if is_partial_network(network, files, found):
        partial = f'; --partial converts the {len(found.sources)} matching arrays'
    return f'it does not match {name}: {describe_mismatches(found)}{partial}'


def unsupported_reason(files: Files) -> str | None:
    """Return a known reason why one of the files fits no network here; None if none is known."""
    for end, shape, reason in UNSUPPORTED_CHECKPOINTS:
        for shapes in files:
            if any(f'.{key}'.endswith(f'.{end}') and shapes[key] == shape for key in shapes):
                return reason
    return None


def _shapes_by_name(files: Files, structure: Structure) -> dict[str, Shapes]:
    """Return the shapes of all networks that are compared with files."""
    if structure != SINGLE:
        return shapes_with_structure(files, structure)
    families = [family for family in registry.FAMILIES if family.original is not None]
    return {name: network_shapes(name) for family in families for name in family.variants}


def _other_structure(network: Network, files: Files, found: StateMatch) -> str | None:
    """Return the reason that the network has other inputs or tasks than the files, if it is so.

    Args:
        network: The requested network.
        files: Shapes of the arrays of each file.
        found: The match of the files with the network.
    """
    name, theirs = network.name, structure_for(network.family, structure_of(files))
    if theirs == network.info.structure or theirs.is_single and network.info.structure.is_single:
        return None
    try:
        other = match_arrays(files, network_shapes(name, None, theirs))
    except ModelError:  # the network cannot have these inputs and tasks
        return None
    classes = other_class_count(name, files, other) if theirs.is_single else None
    if classes:
        other = match_arrays(files, network_shapes(name, classes))
    if theirs.is_single and (other.is_complete or is_encoder_of(name, other)):
        what = 'fits' if other.is_complete else 'is the encoder of'
        own = network.info.structure.words()
        return (
            f'it {what} a network with {SINGLE.words()}, not {own}; convert '
            f'it with {_options(name, classes)} alone, and let train.py -p start from that file: '
            'it copies blocks into each stream and the decoder into each decoder'
        )
    if theirs.is_single or other.mismatch_count >= found.mismatch_count:
        return None
    return (
        f'it has {theirs.words()}, not {network.info.structure.words()}; pass '
        f'{_options(name, None, theirs)}, with your own names of the tasks'
    )


def other_class_count(name: str, files: Files, found: StateMatch) -> int | None:
    """Return the number of classes that resolves all wrong shapes; None if there is none.

    Args:
        name: Name of the network.
        files: Shapes of the arrays of each file.
        found: The match of the files with the network, in which arrays have the wrong shape.
    """
    counts = {files[i][key][0] for i, key in found.wrong_shape.values() if files[i][key]}
    if len(counts) > MAX_CLASS_COUNTS:
        return None
    for count in sorted(counts):
        try:
            other = match_arrays(files, network_shapes(name, count))
        except ModelError:  # the network cannot have this number of classes
            continue
        if not other.wrong_shape and len(other.sources) > len(found.sources):
            return count
    return None


def class_count_beyond_limit(network: Network, files: Files, found: StateMatch) -> int | None:
    """Return the number of classes of heads that differ in nothing else, if it is too large.

    Args:
        network: The requested network.
        files: Shapes of the arrays of each file.
        found: The match of the files with the network, in which arrays have the wrong shape.
    """
    own = shapes_of(network)
    counts = set()
    for parameter, (number, key) in found.wrong_shape.items():
        count, *rest = files[number][key] or (0,)
        if (network.info.num_classes, *rest) != own[parameter]:
            return None
        counts.add(count)
    return counts.pop() if len(counts) == 1 and min(counts) > MAX_CLASSES else None


def recognise(files: Files, like: str) -> tuple[list[str], int | None, StateMatch] | None:
    """Find the networks that match files best.

    Args:
        files: Shapes of the arrays of each file.
        like: The requested name; of equal matches, the most similar name comes first.

    Returns:
        The names of the networks, their number of classes if it is not the default, and the match
        of the first. None if no network matches well enough.
    """
    count = sum(map(len, files))
    spare = MAX_MISMATCHED_SHARE * count + MAX_CLASSIFIER_ARRAYS
    structure = structure_of(files)
    matches = {}
    for name, shapes in _shapes_by_name(files, structure).items():
        if count <= len(shapes) + spare:  # else too many arrays would not match
            matches[name] = match_arrays(files, shapes)
    if not matches:
        return None
    fewest = min(found.mismatch_count for found in matches.values())
    names = [name for name, found in matches.items() if found.mismatch_count == fewest]
    names.sort(key=lambda name: -difflib.SequenceMatcher(None, name, like).ratio())
    found, classes = matches[names[0]], None
    if found.wrong_shape:
        classes = other_class_count(names[0], files, found) if structure.is_single else None
        if classes:
            found = match_arrays(files, network_shapes(names[0], classes))
    limit = MAX_MISMATCHED_SHARE * count
    if found.mismatch_count > limit and not is_encoder_of(names[0], found):
        return None
    return names, classes, found


def describe_mismatches(found: StateMatch) -> str:
    """Return a text with a few names of each kind of unmatched arrays and parameters."""
    parts = [
        f'{len(names)} {what}: {first_names(names)}'
        for what, names in (
            ('missing', found.missing),
            ('not in the network', [key for _, key, _ in found.extra]),
            ('with another shape', list(found.wrong_shape)),
        )
        if names
    ]
    return '; '.join(parts)


def _options(name: str, classes: int | None, structure: Structure = SINGLE) -> str:
    parts = [f'--network {name}', f'--num-classes {classes}' if classes else '']
    return ' '.join(filter(None, [*parts, structure.options()]))


def channel_order_hint(name: str, files: Files) -> str | None:
    """Return a note on the channel order of an encoder of pycls, which was trained on BGR images.

    Args:
        name: Name of the requested network.
        files: Shapes of the arrays of each file.

    Returns:
        The note; None if the files are not of pycls or ``name`` already takes BGR images.
    """
    bgr = name.replace('_edgeailite', '_bgr_edgeailite')
    of_pycls = any(key.endswith('head.fc.weight') for shapes in files for key in shapes)
    if not of_pycls or bgr not in registry.names() or bgr == name:
        return None
    return f'pycls trained it on BGR images, which {bgr} takes; {name} takes RGB.'
