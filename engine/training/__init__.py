"""Train a network: settings and config in, a run folder with trained weights out.

from engine import training

training.train(training.TrainingSettings(data_dir='data/cityscapes'))
"""

from typing import TYPE_CHECKING

from common import lazy

if TYPE_CHECKING:
    from engine.training.run import train
    from engine.training.settings import TrainingSettings

_HOMES = {
    'TrainingSettings': 'engine.training.settings',
    'train': 'engine.training.run',
}
__all__ = ['TrainingSettings', 'train']
__getattr__ = lazy.resolver(__name__, _HOMES)
