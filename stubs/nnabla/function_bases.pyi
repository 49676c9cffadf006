from collections.abc import Sequence

from nnabla._variable import Variable

def interpolate(
    x: Variable,
    output_size: Sequence[int],
    mode: str,
    align_corners: bool = True,
    half_pixel: bool = False,
    half_pixel_for_nn: bool = False,
    channel_last: bool = False,
) -> Variable: ...
