"""Run networks: inference, evaluation, training and export.

    from engine import Segmenter

A public name is imported on first use. So importing this package, as every command does, loads
neither NNabla nor OpenCV.
"""

import sys

if sys.version_info < (3, 10):  # before the import of modules with newer syntax fails
    sys.stderr.write(
        'error: this is Python %d.%d, but the project needs 3.10: use .venv/bin/python, '
        'which `make demo` creates\n' % sys.version_info[:2]
    )
    sys.exit(2)

from engine import name_clashes  # noqa: E402

name_clashes.check()  # before the import of packages that may be those of someone else

from typing import TYPE_CHECKING  # noqa: E402

from common import __version__, lazy  # noqa: E402

if TYPE_CHECKING:
    from engine.evaluation.evaluator import Evaluator
    from engine.inference.depth_map import DepthMap
    from engine.inference.predictor import Predictor
    from engine.inference.segmentation import Segmentation
    from engine.inference.segmenter import Segmenter
    from engine.inference.test_time import Protocol
    from engine.inference.video import VideoReader
    from engine.training.trainer import Trainer

_HOMES = {
    'DepthMap': 'engine.inference.depth_map',
    'Evaluator': 'engine.evaluation.evaluator',
    'Predictor': 'engine.inference.predictor',
    'Protocol': 'engine.inference.test_time',
    'Segmentation': 'engine.inference.segmentation',
    'Segmenter': 'engine.inference.segmenter',
    'Trainer': 'engine.training.trainer',
    'VideoReader': 'engine.inference.video',
}
__all__ = [
    'DepthMap',
    'Evaluator',
    'Predictor',
    'Protocol',
    'Segmentation',
    'Segmenter',
    'Trainer',
    'VideoReader',
    '__version__',
]
__getattr__ = lazy.resolver(__name__, _HOMES)
