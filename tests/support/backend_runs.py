"""Create backends for tests, and inputs for them."""

from engine.backends import exported, select
from engine.backends.settings import BackendSettings
from engine.device.context import DeviceChoice
from engine.inference import predictor
from support import programs, stand_ins

CPU = DeviceChoice('cpu', 'float')
EXPORTS = 'openvino', 'onnxruntime'
STREET = programs.PROJECT / 'resources' / 'street.jpg'


def create_backend(name, made, disk_cache, images=None, **settings):
    """Create a backend on the CPU for the network of the predictor ``made``.

    Args:
        name: A value of ``--backend``.
        made: A predictor of the network.
        disk_cache: The cache of compiled models.
        images: Calibration images; None at other precisions than int8.
        **settings: Other fields of :class:`BackendSettings`.
    """
    settings = BackendSettings(name, **settings)
    return select.create(settings, made.network, CPU, cache=disk_cache, calibration=images)


def predictor_with(name, network, disk_cache):
    """Return a predictor that uses the named backend."""
    made = predictor.Predictor(network)
    made.backend = create_backend(name, made, disk_cache)
    return made


def random_input(made, height=64, width=96, seed=0):
    """Return a seeded input, (1, 3, height, width) float32.

    Args:
        made: A predictor, whose network determines the normalisation.
        height: Height in pixels.
        width: Width in pixels.
        seed: Seed of the image.
    """
    return predictor.normalise(stand_ins.image(height, width, seed), made.network.info)[None]


def fail_if_called(*args):
    """Raise ``AssertionError``; this replaces a function that must not be called."""
    raise AssertionError('compiled again')


def replace_model_by_another_shape(made, shape):
    """Make an exported backend fail on ``shape``: store a model for a wider shape in its place."""
    other = exported.export_onnx(made.network, (*shape[:3], shape[3] + 32))
    made._models[shape] = made.runtime.compile(other, None)
