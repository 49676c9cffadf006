"""Create training augmentations by name.

    transform = augmentations.create(config)

Each file defines the config keys of an augmentation, its transform, and the function that makes the
transform from the keys. Your own module can register another augmentation, which configs can name:

    augmentations.register(Augmentation('middle', MiddleKeys, lambda keys: Middle(keys.zoom)))
"""

from datasets.loading.augmentations import resize_crop, scale_crop, short_sides
from datasets.loading.augmentations.registry import (
    Augmentation,
    AugmentationKeys,
    create,
    register,
    sections,
)
from datasets.loading.augmentations.resize_crop import ResizeCrop
from datasets.loading.augmentations.scale_crop import ScaleCrop
from datasets.loading.augmentations.short_sides import ShortSides

__all__ = [
    'Augmentation',
    'AugmentationKeys',
    'ResizeCrop',
    'ScaleCrop',
    'ShortSides',
    'create',
    'register',
    'sections',
]

register(scale_crop.AUGMENTATION)
register(resize_crop.AUGMENTATION)
register(short_sides.AUGMENTATION)
