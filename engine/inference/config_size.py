"""The size of the images that a config is for."""

from datasets.loading.augmentations.crop import CropKeys
from engine.config.config import Config
from engine.inference.test_time import ProtocolKeys, Size
from models import complexity
from models.family import NetworkInfo

# For a config that names no size, because its images have many: a square of half a megapixel.
ANY_SIZE = (512, 512)


def named_sizes(config: Config) -> dict[str, Size]:
    """Return the sizes of a config by the names that ``--size`` accepts, the preferred one first.

    Args:
        config: The config, whose key ``test_size`` is called ``test``, and whose crop ``training``.
    """
    sizes = {}
    tested = ProtocolKeys.of(config).test_size
    if tested:
        sizes['test'] = tested
    if not CropKeys.missing(config):
        crop = CropKeys.of(config)
        sizes['training'] = crop.image_height, crop.image_width
    return sizes


def config_size(config: Config, info: NetworkInfo) -> Size:
    """Return the size at which a network sees images, the nearest that it accepts.

    Args:
        config: The config. Its ``test_size`` counts, else its ``trained_size``, which is that of
            whole images, else the size of its crops, else :data:`ANY_SIZE`.
        info: Facts about its network.
    """
    keys, named = ProtocolKeys.of(config), named_sizes(config)
    size = keys.test_size or keys.trained_size or named.get('training', ANY_SIZE)
    return complexity.nearest_size(info, size)
