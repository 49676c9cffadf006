"""The registry of augmentations, and the config keys that all of them have."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from common.registry import Registry
from common.sections import Section, SectionError, config_key
from datasets.info import IGNORE
from datasets.loading.transforms import Transform

AUGMENTATIONS: 'Registry[Augmentation[Any]]' = Registry('an augmentation')


@dataclass(frozen=True, kw_only=True)
class AugmentationKeys(Section):
    """Keys of every augmentation; subclasses add keys or change defaults."""

    augmentation: str = config_key(
        'scale_crop',
        'augmentation of images and labels in training',
        choices=AUGMENTATIONS,
    )
    flip: float = config_key(0.5, 'probability that an image is mirrored', least=0, most=1)
    photometric_distortion: bool = config_key(
        False, 'random brightness, contrast, saturation and hue'
    )
    pad_label: int = config_key(IGNORE, 'label of pixels outside the image', least=0, most=255)


K = TypeVar('K', bound=AugmentationKeys)


@dataclass(frozen=True)
class Augmentation(Generic[K]):
    """A named kind of transform.

    Attributes:
        name: Name in configs.
        keys: The class of its config section.
        make: Function that makes the transform from the section; it may raise ``UserError``.
    """

    name: str
    keys: type[K]
    make: Callable[[K], Transform]


def register(augmentation: Augmentation[Any]) -> None:
    """Register an augmentation, so that configs can name it.

    Raises:
        UserError: The name is taken.
    """
    AUGMENTATIONS.add(augmentation.name, augmentation)


def sections() -> dict[str, type[Section]]:
    """Return the config sections of all augmentations by name."""
    return {name: augmentation.keys for name, augmentation in AUGMENTATIONS.items()}


def create(config: Mapping[str, Any]) -> Transform:
    """Return the training transform of a config.

    Raises:
        UserError: Keys are missing, or their values contradict each other.
    """
    augmentation = AUGMENTATIONS[AugmentationKeys.of(config).augmentation]
    missing = augmentation.keys.missing(config)
    if missing:
        raise SectionError('augmentation', f'{augmentation.name} also needs {", ".join(missing)}')
    return augmentation.make(augmentation.keys.of(config))
