"""Training losses for logits of several resolutions and labels with ignored pixels.

Each module registers its loss; :mod:`engine.training.losses.registry` shows how to add one.
"""

from engine.training.losses import (  # noqa: F401  (register)
    cross_entropy,
    depth_silog,
    depth_terms,
    dice,
    lovasz,
    ohem,
)
from engine.training.losses.choice import create_for
from engine.training.losses.criterion import Criterion, Objective, create
from engine.training.losses.depth_head import DepthHead
from engine.training.losses.head import Head, MicroBatchLoss
from engine.training.losses.keys import LossKeys
from engine.training.losses.registry import (
    PixelLoss,
    Term,
    choices,
    register,
    register_depth,
    sections,
)
from engine.training.losses.task_criterion import TaskCriterion, TaskObjective

__all__ = [
    'Criterion',
    'DepthHead',
    'Head',
    'LossKeys',
    'Objective',
    'MicroBatchLoss',
    'PixelLoss',
    'TaskCriterion',
    'TaskObjective',
    'Term',
    'choices',
    'create',
    'create_for',
    'register',
    'register_depth',
    'sections',
]
