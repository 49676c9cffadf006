"""Choose the class indices for the labels of annotations."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from common.class_maps import MAX_CLASSES
from common.errors import UserError
from common.terminal.name_list import first_names
from datasets.info import IGNORE
from datasets.preparation.polygons.annotations import Annotation
from datasets.preparation.polygons.labelme import BACKGROUND, IGNORED
from datasets.preparation.polygons.settings import PolygonSettings


@dataclass(frozen=True)
class Classes:
    """The meaning of labels.

    Attributes:
        names: Names of the classes, by class index.
        indices: The class index of each label, or 255 for those to be ignored.
        background: The class index of pixels that no shape covers.
    """

    names: Sequence[str]
    indices: Mapping[str, int]
    background: int


def choose_classes(
    settings: PolygonSettings,
    found: Iterable[Annotation],
    declared: Sequence[str],
    described: Sequence[str] | None,
) -> Classes:
    """Return the classes.

    Args:
        settings: The options, with the user's order of classes.
        found: All annotations.
        declared: Names of classes in the order of the files.
        described: The classes of an existing ``dataset.yaml``, which stay; None without one.

    Raises:
        UserError: A label is no class, or there are too many.
    """
    images = Counter(label for annotation in found for label in annotation.labels)
    ignored = {IGNORED, *settings.ignore}
    used = [label for label in images if label not in ignored and label != BACKGROUND]
    # A list of labels for LabelMe's own conversion names these two as well.
    named = [name for name in settings.classes if name not in (IGNORED, BACKGROUND)]
    names = list(described or named)
    if described and named and named != names:
        raise UserError(
            f'--classes {" ".join(settings.classes)}: dataset.yaml has other classes, '
            f'{first_names(names, 10)}; omit --classes, or move dataset.yaml and the masks away'
        )
    if not names:
        ordered = dict.fromkeys(name for name in declared if name in used)
        names = list(ordered) + sorted(label for label in used if label not in ordered)
    background = IGNORE
    if not settings.ignore_background:
        if settings.background not in names and not described:
            names.insert(0, settings.background)
        if settings.background not in names:
            raise UserError(
                f'--background {settings.background}: is no class of dataset.yaml; name one of '
                f'{first_names(names, 10)}, or --ignore-background'
            )
        background = names.index(settings.background)
    other = [label for label in used if label not in names]
    if other:
        shown = first_names([f'{label} ({images[label]} images)' for label in other], 10)
        where = 'in dataset.yaml' if described else 'of --classes'
        raise UserError(
            f'{shown}: no class {where}; add the names there, or name them with --ignore'
        )
    if not 1 <= len(names) <= MAX_CLASSES:
        raise UserError(
            f'the annotations have {len(names)} labels, but 1 to {MAX_CLASSES} can be classes; '
            'name those to use with --classes, and the others with --ignore'
        )
    indices = {name: index for index, name in enumerate(names)}
    return Classes(
        names, indices | {BACKGROUND: background} | dict.fromkeys(ignored, IGNORE), background
    )
