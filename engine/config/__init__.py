"""Load configs, check them, and open the data that they name."""

from engine.config.loading import DEFAULT, PATHS, Config, class_info, load, with_origins

__all__ = ['DEFAULT', 'PATHS', 'Config', 'class_info', 'load', 'with_origins']
