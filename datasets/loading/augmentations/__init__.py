"""Augmentations by name: what a training does to its images and labels.

    transform = augmentations.create(config)

Each has a file with its keys, its transform, and how the one makes the other. A module of one's own
adds another, which a config then names:

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
