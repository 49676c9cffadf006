"""Known bugs of NNabla 1.39 on Hopper GPUs, as measured on an H200.

In the kernels of the functions named below, NNabla's CUDA extension passes a mask of 28 of the 32
lanes to the warp shuffles (nnabla-ext-cuda, include/nbla/cuda/utils/shuffle_down.cuh and
warp_shuffle.cuh).
"""

HOPPER = 9  # major number of the compute capability
HOPPER_PROBLEM = (
    'on Hopper GPUs (H100, H200) kernels of NNabla 1.39 stop with an illegal instruction: '
    'means of 2048 or more values per output, '
    'sums and maxima over all axes or the last axis, top-k, depthwise convolution, '
    'layer and instance norm, prelu, clipping by norm, LARS, '
    'backward of batch norm with fixed statistics; the layers of layers/functions.py avoid them'
)
