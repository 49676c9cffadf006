"""Training losses over logits of several resolutions and labels with ignored pixels.

Each loss is registered by its module; :mod:`engine.training.losses.registry` shows how to add one.
"""

from engine.training.losses import cross_entropy, dice, lovasz, ohem  # noqa: F401  (register)
from engine.training.losses.criterion import Criterion, Objective, create
from engine.training.losses.head import Head, Part
from engine.training.losses.keys import LossKeys
from engine.training.losses.registry import PixelLoss, Term, register, sections

__all__ = [
    'Criterion',
    'Head',
    'LossKeys',
    'Objective',
    'Part',
    'PixelLoss',
    'Term',
    'create',
    'register',
    'sections',
]
