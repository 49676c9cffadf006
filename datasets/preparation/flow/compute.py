"""Compute optical flow with a confidence from two frames, in TI's encoding.

The confidence comes from forward-backward consistency: following a vector to the frame before and
the flow from there back should lead to the same pixel.
"""

import cv2
import numpy as np

from common.errors import UserError
from datasets import optical_flow
from datasets.optical_flow import ZERO

FARNEBACK, DIS = 'farneback', 'dis'
METHODS = (FARNEBACK, DIS)
# Arguments of OpenCV's Farneback: scale and number of the pyramid's levels, window in pixels,
# iterations, neighbourhood in pixels and its smoothing, flags.
_FARNEBACK = (0.5, 5, 15, 3, 5, 1.2, 0)
SMALLEST_SIDE = 16  # pixels of the frames that both methods take


def flow_picture(
    previous: np.ndarray, current: np.ndarray, method: str = FARNEBACK
) -> tuple[np.ndarray, float]:
    """Return how the pixels of a frame have moved since the frame before.

    Args:
        previous: (H, W, 3) uint8, BGR.
        current: (H, W, 3) uint8, BGR.
        method: One of ``METHODS``: OpenCV's Farneback, as TI's, or its DIS, which is faster.

    Returns:
        A picture, (H, W, 3) uint8, see :mod:`datasets.optical_flow`, with the confidence
        255 exp(-e) for vectors that are inconsistent by e pixels and 0 for those that come from
        outside the frame before; and the share of vectors that are too long and are cut.

    Raises:
        UserError: The frames are too small, or differ in size.
    """
    if previous.shape != current.shape or min(current.shape[:2]) < SMALLEST_SIDE:
        sizes = ' and '.join(f'{frame.shape[1]}x{frame.shape[0]}' for frame in (previous, current))
        raise UserError(
            f'frames of {sizes} pixels: optical flow needs two of one size, at least '
            f'{SMALLEST_SIDE}x{SMALLEST_SIDE}'
        )
    before, now = (cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) for frame in (previous, current))
    back, forth = _flow(now, before, method), _flow(before, now, method)
    height, width = now.shape
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height))
    x, y = columns + back[..., 0], (rows + back[..., 1]).astype(np.float32)
    returned = cv2.remap(forth, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    error = np.linalg.norm(back + returned, axis=2)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    values = np.empty((height, width, 3), np.float32)
    sure = np.nan_to_num(optical_flow.SURE * np.exp(-error))  # an unknown movement has 0
    values[..., 0] = np.where(inside, sure, 0)
    values[..., optical_flow.U] = ZERO - back[..., 0]  # the movement leads to this frame
    values[..., optical_flow.V] = ZERO - back[..., 1]
    values = np.nan_to_num(values, nan=ZERO)
    rounded = np.rint(values)
    cut = ((rounded < 0) | (rounded > 255)).any(axis=2).mean()
    return rounded.clip(0, 255).astype(np.uint8), float(cut)


def _flow(start: np.ndarray, end: np.ndarray, method: str) -> np.ndarray:
    """Return the flow at the pixels of ``start``, (H, W, 2) float32, right and downwards."""
    if method == DIS:
        dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # type: ignore[attr-defined]
        return dis.calc(start, end, None)
    return cv2.calcOpticalFlowFarneback(start, end, None, *_FARNEBACK)  # type: ignore[call-overload]
