"""What a checkpoint or a file of weights is of, when it is not of the network that was named."""

import difflib
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from models import registry
from models.convert import reference_name
from models.convert.renaming import Fit, Shapes, fit, is_encoder_of, network_shapes
from models.errors import ModelError
from models.registry import Network

Files: TypeAlias = Sequence[Shapes]  # shapes by key, of each file

# What no network here can take: the end of a key, its shape, and why.
FOREIGN = (
    (
        'conv1.weight',
        (64, 3, 7, 7),
        'it is a torchvision ResNet, which fits no network here: its stem is one convolution of '
        "7x7, theirs are three of 3x3 (CSAIL's resnet18-imagenet.pth and OpenMMLab's resnet18_v1c "
        'are such)',
    ),
    (
        'trunk_output.block4.block4-0.proj.0.weight',
        (400, 160, 1, 1),
        "it is torchvision's RegNetX-400MF, whose last stage has 400 channels; the networks here "
        "have pycls's, with 384 (RegNetX-400MF_dds_8gpu.pyth)",
    ),
)
LEAST_SHARE = 0.3  # of a file's arrays fits, or what fits is no part worth converting
MOST_FAULTS = 0.1  # of a file's arrays do not fit, or a network is no guess


def is_part(network: Network, files: Files, found: Fit) -> bool:
    """Whether files hold a part of a network worth converting: a fair share of them fits, and what
    is of another shape is the heads for another number of classes.
    """
    fitting = len(found.sources) >= LEAST_SHARE * sum(map(len, files))
    if not fitting or found.twice or foreign(files):
        return False
    return not found.misshapen or other_class_number(network.name, files, found) is not None


def explain(network: Network, files: Files, found: Fit) -> str:
    """Why files do not make up a network, the most telling reason first."""
    if reason := foreign(files):
        return reason
    if found.twice:
        some = ', '.join(found.twice[:3])
        return f'{len(found.twice)} arrays are there twice, in two files or two spellings: {some}'
    name = network.name
    classes = other_class_number(name, files, found)
    if classes:
        return (
            f'it has {classes} classes, not {network.info.num_classes}; give '
            f'{_options(name, classes)}, or --partial, which leaves these heads out'
        )
    best = recognise(files, name)
    if best and best[2].faults < found.faults:
        names, classes, other = best
        how = f'is like, but for {other.faults} arrays,'
        if other.is_whole:
            how = 'fits'
        elif is_encoder_of(names[0], other):
            how = 'is the encoder of'
        alike = f' (the same shapes have {", ".join(names[1:4])})' if names[1:] else ''
        return f'it is not of {name}, and {how} {names[0]}: {_options(names[0], classes)}{alike}'
    halves = {missing.partition('.')[0] for missing in found.missing}
    if halves in ({'encoder'}, {'decoder'}) and not found.misshapen and not found.extra:
        return f'the {halves.pop()} is not in it; give its file, too, with another -i'
    partial = ''
    if is_part(network, files, found):
        partial = f'; --partial converts the {len(found.sources)} arrays that fit'
    return f'it does not make up {name}: {leftovers(found)}{partial}'


def foreign(files: Files) -> str | None:
    """Why no network here can take one of the files, if that is known."""
    for end, shape, reason in FOREIGN:
        for shapes in files:
            if any(f'.{key}'.endswith(f'.{end}') and shapes[key] == shape for key in shapes):
                return reason
    return None


def other_class_number(name: str, files: Files, found: Fit) -> int | None:
    """The number of classes with which a network has room for all that is misshapen."""
    counts = {files[i][key][0] for i, key in found.misshapen.values() if files[i][key]}
    for count in sorted(counts):
        try:
            other = fit(files, network_shapes(name, count))
        except ModelError:  # there is no such network of so many classes
            continue
        if not other.misshapen and len(other.sources) > len(found.sources):
            return count
    return None


def recognise(files: Files, like: str) -> tuple[list[str], int | None, Fit] | None:
    """The networks that files fit best, with their number of classes where it is not their own;
    None where too little fits any. ``like``: of equals, the name most alike comes first.
    """
    fits = {}
    for family in registry.FAMILIES:
        if family.original is not None:
            for name in family.variants:
                fits[name] = fit(files, network_shapes(name))
    fewest = min(found.faults for found in fits.values())
    names = [name for name, found in fits.items() if found.faults == fewest]
    names.sort(key=lambda name: -difflib.SequenceMatcher(None, name, like).ratio())
    found, classes = fits[names[0]], None
    if found.misshapen:
        classes = other_class_number(names[0], files, found)
        if classes:
            found = fit(files, network_shapes(names[0], classes))
    if found.faults > MOST_FAULTS * sum(map(len, files)) and not is_encoder_of(names[0], found):
        return None
    return names, classes, found


def networks_of(weights: Shapes) -> tuple[list[str], int | None]:
    """The networks that have these parameters and no others, shapes by NNabla's names, with the
    number of classes where it is not their own.
    """
    try:
        shapes = {reference_name(n): s[1:2] if '/bn/' in n else s for n, s in weights.items()}
    except ModelError:
        return [], None
    alike = [name for name in _similar(shapes) if network_shapes(name).keys() == shapes.keys()]
    names = [name for name in alike if network_shapes(name) == shapes]
    if names:
        return names, None
    for name in alike:
        found = fit([shapes], network_shapes(name))
        classes = other_class_number(name, [shapes], found)
        if classes and network_shapes(name, classes) == shapes:
            return [name], classes
    return [], None


def _similar(shapes: Shapes) -> list[str]:
    """Networks of the families whose last network has more than half of the outermost names."""

    def outermost(names: Iterable[str]) -> set[str]:
        return {name.partition('.')[0] for name in names}

    own = outermost(shapes)
    return [
        name
        for family in registry.FAMILIES
        if 2 * len(own & outermost(network_shapes(list(family.variants)[-1]))) > len(own)
        for name, hyper in family.variants.items()
        if hyper  # d3net, of which nothing is given, is no single network
    ]


def leftovers(found: Fit) -> str:
    """What is left over on both sides, shortened."""
    parts = [
        f'{len(names)} {what}: {", ".join(names[:3])}{", ..." if len(names) > 3 else ""}'
        for what, names in (
            ('missing', found.missing),
            ('not of the network', [key for _, key, _ in found.extra]),
            ('of another shape', list(found.misshapen)),
        )
        if names
    ]
    return '; '.join(parts)


def _options(name: str, classes: int | None) -> str:
    return f'--network {name}' + (f' --num-classes {classes}' if classes else '')


def advice(name: str, files: Files) -> str | None:
    """What else to know about an encoder: those of pycls have learned from BGR images."""
    bgr = name.replace('_edgeailite', '_bgr_edgeailite')
    of_pycls = any(key.endswith('head.fc.weight') for shapes in files for key in shapes)
    if not of_pycls or bgr not in registry.names() or bgr == name:
        return None
    return f'pycls trained it on BGR images, which {bgr} takes; {name} takes RGB.'
