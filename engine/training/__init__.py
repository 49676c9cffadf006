"""Training: from a config to trained weights.

from engine import training

training.train(training.TrainingSettings(data_dir='data/cityscapes'))
"""

from common import lazy

_HOMES = {
    'TrainingSettings': 'engine.training.settings',
    'train': 'engine.training.run',
}
__all__ = sorted(_HOMES)
__getattr__ = lazy.resolver(__name__, _HOMES)
