"""Score the predictions of a whole split, and write files for test servers.

from engine.evaluation import EvaluationSettings, evaluate

evaluate(EvaluationSettings(data_dir='data/cityscapes', json=Path('scores.json')))
"""

from typing import TYPE_CHECKING

from common import lazy

if TYPE_CHECKING:
    from engine.evaluation.evaluating import evaluate
    from engine.evaluation.settings import EvaluationSettings

_HOMES = {
    'EvaluationSettings': 'engine.evaluation.settings',
    'evaluate': 'engine.evaluation.evaluating',
}
__all__ = ['EvaluationSettings', 'evaluate']
__getattr__ = lazy.resolver(__name__, _HOMES)
