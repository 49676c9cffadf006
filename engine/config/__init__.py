"""Load and check configs, and open the data sets that they name."""

from typing import TYPE_CHECKING

from common import lazy

if TYPE_CHECKING:
    from engine.config.config import Config
    from engine.config.loading import DEFAULT_CONFIG, class_info, load, with_origins
    from engine.config.reading import PATH_KEYS

__all__ = ['DEFAULT_CONFIG', 'PATH_KEYS', 'Config', 'class_info', 'load', 'with_origins']
_HOMES = {
    **dict.fromkeys(__all__, 'engine.config.loading'),
    'Config': 'engine.config.config',
    'PATH_KEYS': 'engine.config.reading',
}
__getattr__ = lazy.resolver(__name__, _HOMES)
