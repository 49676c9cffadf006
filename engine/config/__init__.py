"""Load configs, check them, and open the data that they name."""

from common import lazy

_HOMES = dict.fromkeys(
    ('DEFAULT', 'PATHS', 'Config', 'class_info', 'load', 'with_origins'), 'engine.config.loading'
)
__all__ = sorted(_HOMES)
__getattr__ = lazy.resolver(__name__, _HOMES)
