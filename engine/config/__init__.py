"""Configs: YAML files with the flat keys of the published D3Net files, checked before anything
runs.

config = load('configs/D3Net_L.yaml', ['lr=0.02'])
config['lr'], config.name
"""

from engine.config.loading import DEFAULT, PATHS, Config, class_info, load

__all__ = ['DEFAULT', 'PATHS', 'Config', 'class_info', 'load']
