"""Draw depth and optical flow in colour."""

import math

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from datasets.optical_flow import ZERO, U, V

UNKNOWN = (0, 0, 0)  # colour of pixels of unknown depth
DEFAULT_LIMITS = (1.0, 100.0)  # metres of the colours' ends if no depth is known
_SHARE_BEYOND = 0.5  # percent of the pixels nearer, and farther, than the limits
_SMALLEST_RATIO = 1.5  # of the limits, so that a wall is not a rainbow
_FULL_LENGTH = 0.9  # quantile of the vectors' lengths that gets the full colour
_TICKS = (1, 2, 5)  # the first digits of the depths that a scale bar names
_TEXT, _PAPER = (32, 32, 32), (255, 255, 255)


def depth_limits(*depths: np.ndarray) -> tuple[float, float]:
    """Return the metres at both ends of the colours, by which depth maps can be compared.

    Args:
        depths: (H, W) float32, metres, 0 where unknown.
    """
    known = np.concatenate([depth[(depth > 0) & np.isfinite(depth)] for depth in depths])
    if not known.size:
        return DEFAULT_LIMITS
    low, high = np.percentile(known, (_SHARE_BEYOND, 100 - _SHARE_BEYOND))
    return float(low), float(max(high, low * _SMALLEST_RATIO))


def paint_depth(depth: np.ndarray, limits: tuple[float, float] | None = None) -> np.ndarray:
    """Return a colour image of depth: from near, red, to far, blue, on a logarithmic scale.

    Args:
        depth: (H, W) float32, metres, 0 where unknown, which becomes black.
        limits: Metres at the ends of the colours; by default :func:`depth_limits`.

    Returns:
        (H, W, 3) uint8, BGR.
    """
    low, high = usable_limits(limits or depth_limits(depth))
    known = depth > 0
    share = np.zeros(depth.shape)
    share[known] = np.log(high / np.minimum(depth[known], high)) / math.log(high / low)
    return _of_share(share, known)


def ramp() -> np.ndarray:
    """Return the colours of depth from far to near, (256, 3) uint8, (red, green, blue)."""
    levels = np.linspace(0, 1, 256)[None]
    return cv2.cvtColor(_of_share(levels, levels >= 0), cv2.COLOR_BGR2RGB)[0]


def depth_bar(height: int, width: int, limits: tuple[float, float]) -> np.ndarray:
    """Return a vertical bar of the colours of depth, far above near, with metres beside it.

    Args:
        height: Pixels.
        width: Pixels, of the bar and the numbers.
        limits: Metres at the ends of the colours.

    Returns:
        (height, width, 3) uint8, BGR.
    """
    low, high = usable_limits(limits)
    column = np.linspace(0, 1, height)[:, None].repeat(max(1, width // 4), axis=1)
    panel = Image.new('RGB', (width, height), _PAPER)
    bar = cv2.cvtColor(_of_share(column, np.ones(column.shape, bool)), cv2.COLOR_BGR2RGB)
    panel.paste(Image.fromarray(bar))
    draw = ImageDraw.Draw(panel)
    size = max(8, min(width // 4, height // 12))
    font, last = ImageFont.load_default(size=size), -math.inf

    def row_of(metres: float) -> float:
        return (height - 1) * math.log(high / metres) / math.log(high / low)

    marked = sorted(ticks(limits), reverse=True)
    inside = [each for each in marked if size / 2 <= row_of(each) <= height - size / 2]
    for metres in inside or [math.sqrt(low * high)]:
        row = row_of(metres)
        if row - last < 1.5 * size:
            continue
        last = row
        draw.line((bar.shape[1], row, bar.shape[1] + size / 3, row), fill=_TEXT)
        text = f'{metres:.3g} m' if metres < 1000 else f'{metres:.0f} m'
        draw.text((bar.shape[1] + size / 2, row), text, fill=_TEXT, font=font, anchor='lm')
    return cv2.cvtColor(np.asarray(panel), cv2.COLOR_RGB2BGR)


def ticks(limits: tuple[float, float]) -> list[float]:
    """Return round depths in metres between the ends of the colours, which a bar names."""
    low, high = usable_limits(limits)
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [
        tick
        for power in exponents
        for first in _TICKS
        if low <= (tick := first * 10.0**power) <= high
    ]


def usable_limits(limits: tuple[float, float]) -> tuple[float, float]:
    """Return the ends of the colours that a logarithm can take."""
    low = max(limits[0], 1e-3)
    return low, max(limits[1], low * _SMALLEST_RATIO)


def paint_flow(picture: np.ndarray) -> np.ndarray:
    """Return a colour image of optical flow: the hue is its direction, the saturation its length.

    Movement to the right is red, downwards yellow-green, to the left cyan, upwards violet; still
    pixels are white. The longest tenth of the vectors has the full colour. Less confidence is
    darker.

    Args:
        picture: (H, W, 3) uint8 or float32, see :mod:`datasets.optical_flow`.

    Returns:
        (H, W, 3) uint8, BGR.
    """
    values = picture.astype(np.float32)
    u, v = values[..., U] - ZERO, values[..., V] - ZERO
    lengths = np.hypot(u, v)
    full = max(1.0, float(np.quantile(lengths, _FULL_LENGTH)))
    hue = np.degrees(np.arctan2(v, u)) % 360 / 2  # OpenCV has 180 hues
    hsv = np.dstack([hue, 255 * np.minimum(lengths / full, 1), 127 + values[..., 0] / 2])
    return cv2.cvtColor(hsv.clip(0, 255).astype(np.uint8), cv2.COLOR_HSV2BGR)


def _of_share(share: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the colours of shares, 0 for the farthest and 1 for the nearest."""
    levels = np.rint(255 * share.clip(0, 1)).astype(np.uint8)
    colours = cv2.applyColorMap(levels, cv2.COLORMAP_TURBO)
    colours[~known] = UNKNOWN
    return colours
