"""Load and check configs, and open the data sets that they name."""

from typing import TYPE_CHECKING

from common import lazy

if TYPE_CHECKING:
    from engine.config.loading import (
        DEFAULT_CONFIG,
        PATH_KEYS,
        Config,
        class_info,
        load,
        with_origins,
    )

__all__ = ['DEFAULT_CONFIG', 'PATH_KEYS', 'Config', 'class_info', 'load', 'with_origins']
__getattr__ = lazy.resolver(__name__, dict.fromkeys(__all__, 'engine.config.loading'))
