"""Segment images and videos, and write class maps and pictures of the results.

from engine.inference import LooksSettings, SegmentSettings, segment

segment(SegmentSettings(inputs=('test.jpg',), looks=LooksSettings(legend=True)))
"""

from typing import TYPE_CHECKING

from common import lazy

if TYPE_CHECKING:
    from engine.inference.segmenting import segment
    from engine.inference.settings import (
        LooksSettings,
        ProtocolSettings,
        SegmentSettings,
        WeightsSettings,
    )

_SETTINGS = 'engine.inference.settings'
_HOMES = {
    'LooksSettings': _SETTINGS,
    'ProtocolSettings': _SETTINGS,
    'SegmentSettings': _SETTINGS,
    'WeightsSettings': _SETTINGS,
    'segment': 'engine.inference.segmenting',
}
__all__ = ['LooksSettings', 'ProtocolSettings', 'SegmentSettings', 'WeightsSettings', 'segment']
__getattr__ = lazy.resolver(__name__, _HOMES)
