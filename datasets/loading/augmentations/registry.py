"""The table of augmentations, and the keys that all of them have."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from common.errors import UserError
from common.sections import Section, SectionError, config_key
from datasets.info import IGNORE
from datasets.loading.transforms import Transform

AUGMENTATIONS: 'dict[str, Augmentation[Any]]' = {}  # what is registered, by name


@dataclass(frozen=True, kw_only=True)
class AugmentationKeys(Section):
    """Keys that every augmentation has; one that has others, or other defaults, extends them."""

    augmentation: str = config_key(
        'scale_crop',
        'what is done to images and labels of a training',
        choices=AUGMENTATIONS,
    )
    flip: float = config_key(0.5, 'probability that an image is mirrored', least=0, most=1)
    photometric_distortion: bool = config_key(
        False, 'random brightness, contrast, saturation and hue'
    )
    pad_label: int = config_key(IGNORE, 'label of pixels outside of the image', least=0, most=255)


K = TypeVar('K', bound=AugmentationKeys)


@dataclass(frozen=True)
class Augmentation(Generic[K]):
    """A kind of transform.

    Attributes:
        name: What a config calls it.
        keys: Its section.
        make: Makes the transform from the section; may raise ``UserError``.
    """

    name: str
    keys: type[K]
    make: Callable[[K], Transform]


def register(augmentation: Augmentation[Any]) -> None:
    """Let configs name an augmentation.

    Raises:
        UserError: Another one has the name.
    """
    if augmentation.name in AUGMENTATIONS:
        raise UserError(
            f'an augmentation called {augmentation.name} is registered already; '
            'give this one another name'
        )
    AUGMENTATIONS[augmentation.name] = augmentation


def sections() -> dict[str, type[Section]]:
    """Return the keys of each augmentation by its name."""
    return {name: augmentation.keys for name, augmentation in AUGMENTATIONS.items()}


def create(config: Mapping[str, Any]) -> Transform:
    """Return the training transform of a config.

    Raises:
        UserError: It cannot be; keys are missing or do not fit together.
    """
    augmentation = AUGMENTATIONS[AugmentationKeys.of(config).augmentation]
    missing = augmentation.keys.missing(config)
    if missing:
        raise SectionError('augmentation', f'{augmentation.name} needs {", ".join(missing)} too')
    return augmentation.make(augmentation.keys.of(config))
