"""Training losses over logits of several resolutions and labels with ignored pixels."""

from engine.training.losses.criterion import Criterion, Objective, from_config

__all__ = ['Criterion', 'Objective', 'from_config']
