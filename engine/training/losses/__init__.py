"""Training losses for logits of several resolutions and labels with ignored pixels.

Each module registers its loss; :mod:`engine.training.losses.registry` shows how to add one.
"""

from engine.training.losses import cross_entropy, dice, lovasz, ohem  # noqa: F401  (register)
from engine.training.losses.criterion import Criterion, Objective, create
from engine.training.losses.head import Head, MicroBatchLoss
from engine.training.losses.keys import LossKeys
from engine.training.losses.registry import PixelLoss, Term, choices, register, sections

__all__ = [
    'Criterion',
    'Head',
    'LossKeys',
    'Objective',
    'MicroBatchLoss',
    'PixelLoss',
    'Term',
    'choices',
    'create',
    'register',
    'sections',
]
