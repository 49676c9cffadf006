"""timm's MobileNetV2 as an encoder, against timm's graph in ONNX Runtime."""

import nnabla as nn
import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import models
from layers.build import Build
from layers.workspace import Workspace
from models import edgeailite
from support import conversions

# Expansion, blocks and stride of each stage: arch_def of _gen_mobilenet_v2 in
# timm/models/efficientnet.py, timm 1.0.31. The channels are those of its networks.
STAGES = ((1, 1, 1), (6, 2, 2), (6, 3, 2), (6, 4, 2), (6, 3, 1), (6, 3, 2), (6, 1, 1))
STEM = {'mobilenetv2_100': 32, 'mobilenetv2_140': 48}
CHANNELS = {
    'mobilenetv2_100': (16, 24, 32, 64, 96, 160, 320),
    'mobilenetv2_140': (24, 32, 48, 88, 136, 224, 448),
}
HEAD = {'mobilenetv2_100': 1280, 'mobilenetv2_140': 1792}
CASES = (
    ('mobilenetv2_100', 'fpn_aspp_mobilenetv2_tv_edgeailite', 'Relu'),
    ('mobilenetv2_140', 'fpn_aspp_mobilenetv2_tv_1p4_edgeailite', 'Clip'),  # with ReLU6
)
NORM_RANGES = {
    'weight': (0.5, 1.5),
    'bias': (-0.3, 0.3),
    'running_mean': (-0.3, 0.3),
    'running_var': (0.5, 2),
}
MAP_STAGES = (0, 1, 2, 4, 6)  # whose last maps the encoder returns


class TimmGraph:
    """timm's graph of MobileNetV2 under timm's names, with seeded parameters.

    Attributes:
        state: Arrays of the encoder by timm's names.
        classifier: The other arrays of a checkpoint of timm.
    """

    def __init__(self, name, activation):
        self.state, self._nodes, self._maps = {}, [], []
        self._activation, self._random = activation, np.random.RandomState(0)
        x, channels = self._conv_norm('x', 'conv_stem', 'bn1', 3, STEM[name], 3, 2), STEM[name]
        for stage, (expansion, blocks, stride) in enumerate(STAGES):
            width = CHANNELS[name][stage]
            for number in range(blocks):
                prefix = f'blocks.{stage}.{number}.'
                x = self._block(x, prefix, channels, width, expansion, 1 if number else stride)
                channels = width
            self._maps.append(x)
        self.classifier = {
            'conv_head.weight': np.ones((HEAD[name], channels, 1, 1)),
            **conversions.batch_norm('bn2', HEAD[name]),
            **conversions.linear('classifier', 1000, HEAD[name]),
        }

    def run(self, image):
        """Return the last map of each stage for an image (1, 3, H, W)."""
        limits = {'zero': np.float32(0), 'six': np.float32(6)} if self._activation == 'Clip' else {}
        constants = {name: np.asarray(array) for name, array in (self.state | limits).items()}
        graph = helper.make_graph(
            self._nodes,
            'timm',
            [helper.make_tensor_value_info('x', TensorProto.FLOAT, image.shape)],
            [helper.make_tensor_value_info(m, TensorProto.FLOAT, None) for m in self._maps],
            [numpy_helper.from_array(array, name) for name, array in constants.items()],
        )
        opset = helper.make_opsetid('', 13)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=['CPUExecutionProvider']
        )
        return session.run(None, {'x': image})

    def _block(self, x, prefix, channels, width, expansion, stride):
        """Add a DepthwiseSeparableConv (expansion 1) or an InvertedResidual."""
        hidden, y = channels * expansion, x
        names = [('conv_dw', 'bn1'), ('conv_pw', 'bn2')]
        if expansion > 1:
            y = self._conv_norm(y, f'{prefix}conv_pw', f'{prefix}bn1', channels, hidden, 1)
            names = [('conv_dw', 'bn2'), ('conv_pwl', 'bn3')]
        depthwise, projection = ([f'{prefix}{name}' for name in pair] for pair in names)
        y = self._conv_norm(y, *depthwise, 1, hidden, 3, stride, groups=hidden)
        y = self._conv_norm(y, *projection, hidden, width, 1, activated=False)
        if stride == 1 and channels == width:
            self._nodes.append(helper.make_node('Add', [y, x], [f'{prefix}sum']))
            y = f'{prefix}sum'
        return y

    def _conv_norm(
        self, x, conv, norm, inputs, outputs, kernel, stride=1, groups=1, activated=True
    ):
        """Add a convolution, its batch norm and the activation; return the name of the output."""
        shape, scale = (outputs, inputs, kernel, kernel), np.sqrt(2 / (inputs * kernel**2))
        self.state[f'{conv}.weight'] = (self._random.randn(*shape) * scale).astype(np.float32)
        for leaf, (low, high) in NORM_RANGES.items():
            values = self._random.uniform(low, high, outputs).astype(np.float32)
            self.state[f'{norm}.{leaf}'] = values
        geometry = dict(strides=[stride] * 2, pads=[kernel // 2] * 4, group=groups)
        norm_inputs = [conv, *(f'{norm}.{leaf}' for leaf in NORM_RANGES)]
        self._nodes += [
            helper.make_node('Conv', [x, f'{conv}.weight'], [conv], **geometry),
            helper.make_node('BatchNormalization', norm_inputs, [norm], epsilon=1e-5),
        ]
        if not activated:
            return norm
        limits = ['zero', 'six'] if self._activation == 'Clip' else []
        self._nodes.append(helper.make_node(self._activation, [norm, *limits], [f'{norm}.out']))
        return f'{norm}.out'


@pytest.mark.parametrize('theirs, ours, activation', CASES)
def test_timms_encoder_computes_the_same(theirs, ours, activation, tmp_path, capsys):
    graph = TimmGraph(theirs, activation)
    path = conversions.save(tmp_path / 'a.pth', graph.state | graph.classifier)
    target = tmp_path / 'a.h5'
    assert conversions.convert('--network', ours, '-i', path, '-o', target) == 0
    assert '(implies --partial)' in capsys.readouterr().out
    image = np.random.RandomState(1).randn(1, 3, 64, 96).astype(np.float32)
    encoder = edgeailite.ENCODERS[edgeailite.VARIANTS[ours]['encoder']]
    with Workspace({}).entered():
        with nn.parameter_scope('encoder'), nn.parameter_scope('features'):
            maps = encoder.features(nn.Variable.from_numpy_array(image), Build())
        models.weights.load(target)  # every array has its place
    nn.forward_all(maps)
    expected = graph.run(image)
    for number, own in zip(MAP_STAGES, maps, strict=True):
        tolerance = 1e-5 * np.abs(expected[number]).max()
        np.testing.assert_allclose(own.d, expected[number], rtol=0, atol=tolerance)
