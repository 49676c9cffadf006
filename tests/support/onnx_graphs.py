"""ONNX models of single functions, and their results in ONNX Runtime."""

import nnabla as nn
import numpy as np
import onnxruntime

from engine.onnx.builder import build_model
from support import stand_ins

SHAPE = (6, 13, 17)


def image(count):
    """Return seeded images (count, 6, 13, 17)."""
    return np.random.RandomState(7).randn(count, *SHAPE).astype(np.float32)


def exported(function, count, **options):
    """Return the model, input and output of a function of ``count`` images; seeded parameters."""
    x = nn.Variable((count, *SHAPE))
    with stand_ins.zero_parameters():
        y = function(x)
    stand_ins.randomize_parameters()
    return build_model({'y': y}, {'x': x}, **options), x, y


def run(model, x):
    """Run a model on the CPU with ONNX Runtime; return its first output."""
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=['CPUExecutionProvider']
    )
    return session.run(None, {'x': x})[0]
