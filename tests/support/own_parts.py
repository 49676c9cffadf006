"""One part of each kind, as a user writes them.

With ``--import`` of this file, configs and options can name them. Run as a program, it writes the
data set to a folder.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import cv2
import nnabla.functions as F
import numpy as np
import onnxruntime

import datasets
import models
from common.sections import Section, config_key
from datasets.loading import augmentations
from datasets.loading.augmentations import Augmentation
from datasets.loading.augmentations.crop import Crop, CropKeys
from datasets.loading.resample import View
from engine.backends import registry as backends
from engine.training import losses
from layers import functions as L

# A network: a strided convolution and a classifier.


@dataclass(frozen=True, kw_only=True)
class NetworkKeys(Section):
    own_width: int = config_key(6, 'channels of the only layer', least=1)


def graph(x, build, *, num_classes, own_width):
    x = L.convolution(x, own_width, 3, 'layer/conv', build, stride=2, bias=False)
    return [L.convolution(L.bn_relu(x, 'layer/bn', build), num_classes, 1, 'classifier', build)]


def network_info(hyper):
    return models.NetworkInfo(num_classes=hyper['num_classes'], size_divisor=2, paper='none yet')


models.register(
    models.Family(
        name='own',
        graph=graph,
        keys=NetworkKeys,
        variants={'own_net': dict(num_classes=3)},
        info=network_info,
    )
)

# A data set: the labels are NumPy arrays beside the images.


def find(root, split):
    return [
        datasets.Sample(path.stem, path, path.with_suffix('.npy'))
        for path in sorted((root / split).glob('*.png'))
    ]


DATA = SimpleNamespace(
    INFO=datasets.DatasetInfo(
        'own_shapes',
        ('ground', 'square', 'sky'),
        ((90, 60, 30), (200, 0, 0), (80, 160, 250)),
        layout='{train,val}/*.png and *.npy',
    ),
    find=find,
    decode=np.load,
)
datasets.register(DATA)

# A loss: cross entropy with a lower weight for pixels that are already classified correctly.


@dataclass(frozen=True, kw_only=True)
class LossKeys(Section):
    own_gamma: float = config_key(2.0, 'exponent of the weight of a pixel', least=0)


def own_loss(head, keys):
    right = F.exp(head.cross_entropy * -1)
    return head.mean(head.pixel_losses * (1 - right) ** keys.own_gamma)


losses.register(losses.PixelLoss('own_loss', LossKeys, own_loss))

# An augmentation: a crop of the upper left corner, shifted by a few pixels.


@dataclass(frozen=True, kw_only=True)
class CornerKeys(CropKeys):
    own_shift: int = config_key(2, 'maximum shift of the corner in pixels', least=0, most=4)


@dataclass(frozen=True)
class Corner(Crop):
    own_shift: int = 2
    distort: bool = False
    pad_label: int = 255

    def view(self, label, rng, batch):
        top, left = rng.randint(self.own_shift + 1, size=2)
        return View(label.shape, int(top), int(left), *self.size)


def make_corner(keys):
    return Corner((keys.image_height, keys.image_width), keys.own_shift)


augmentations.register(Augmentation('own_corner', CornerKeys, make_corner))

# A backend: ONNX Runtime, used like any other runtime.


class Runtime:
    name, precision, fits, threads = 'own_runtime', 'float32', 'any machine', 1
    versions = {'onnxruntime': onnxruntime.__version__}

    def __str__(self):
        return 'own_runtime, one thread'

    def exact(self):
        return self

    def compile(self, onnx, inputs):
        return Model(onnx)

    def load(self, payload):
        return Model(payload)


class Model:
    def __init__(self, onnx):
        self.onnx, self.session = onnx, onnxruntime.InferenceSession(onnx)

    def run(self, x):
        return self.session.run(None, {'image': x})[0]

    def payload(self):
        return self.onnx


backends.register(
    backends.Registration(
        'own_runtime',
        ('onnxruntime',),
        'python -m pip install onnxruntime',
        lambda request: Runtime(),
    )
)


def write_data(root):
    """Write images of squares on the ground below a sky, and their labels."""
    rng = np.random.RandomState(0)
    for split, count in (('train', 6), ('val', 3)):
        (root / split).mkdir(parents=True)
        for number in range(count):
            labels = np.zeros((32, 48), np.uint8)
            labels[:12] = 2
            top, left = rng.randint(8, 20), rng.randint(4, 36)
            labels[top : top + 10, left : left + 10] = 1
            labels[0, 0] = 255
            image = np.array(DATA.INFO.palette, np.uint8)[np.minimum(labels, 2)][..., ::-1]
            cv2.imwrite(str(root / split / f'{number}.png'), image)
            np.save(root / split / f'{number}.npy', labels)


if __name__ == '__main__':
    write_data(Path(sys.argv[1]))
