from collections.abc import Sequence
from typing import Literal, overload

from nnabla._nd_array import NdArray
from nnabla._variable import Variable
from nnabla.communicators import Communicator

def affine(
    x: Variable, weight: Variable, bias: Variable | None = None, base_axis: int = 1
) -> Variable: ...
def average_pooling(
    x: Variable,
    kernel: Sequence[int],
    stride: Sequence[int] | None = None,
    ignore_border: bool = True,
    pad: Sequence[int] | None = None,
    channel_last: bool = False,
    including_pad: bool = True,
) -> Variable: ...
@overload
def batch_matmul(
    a: NdArray, b: NdArray, transpose_a: bool = False, transpose_b: bool = False
) -> NdArray: ...
@overload
def batch_matmul(
    a: Variable, b: Variable, transpose_a: bool = False, transpose_b: bool = False
) -> Variable: ...
def batch_normalization(
    x: Variable,
    beta: Variable | None,
    gamma: Variable | None,
    mean: Variable | None,
    variance: Variable | None,
    axes: Sequence[int] = (1,),
    decay_rate: float = 0.9,
    eps: float = 1e-05,
    batch_stat: bool = True,
) -> Variable: ...
@overload
def concatenate(*x: NdArray, axis: int = ...) -> NdArray: ...
@overload
def concatenate(*x: Variable, axis: int = ...) -> Variable: ...
def constant(val: float = 0, shape: Sequence[int] = ()) -> Variable: ...
def convolution(
    x: Variable,
    weight: Variable,
    bias: Variable | None = None,
    base_axis: int = 1,
    pad: Sequence[int] | None = None,
    stride: Sequence[int] | None = None,
    dilation: Sequence[int] | None = None,
    group: int = 1,
    channel_last: bool = False,
) -> Variable: ...
def depthwise_convolution(
    x: Variable,
    weight: Variable,
    bias: Variable | None = None,
    base_axis: int = 1,
    pad: Sequence[int] | None = None,
    stride: Sequence[int] | None = None,
    dilation: Sequence[int] | None = None,
    multiplier: int = 1,
) -> Variable: ...
def dropout(x: Variable, p: float = 0.5, seed: int = -1) -> Variable: ...
def equal(x0: Variable, x1: Variable) -> Variable: ...
def exp(x: Variable) -> Variable: ...
def fused_batch_normalization(
    x: Variable,
    beta: Variable,
    gamma: Variable,
    mean: Variable,
    variance: Variable,
    z: Variable | None = None,
    axes: Sequence[int] = (1,),
    decay_rate: float = 0.9,
    eps: float = 1e-05,
    batch_stat: bool = True,
    nonlinearity: str = 'relu',
) -> Variable: ...
def global_average_pooling(x: Variable) -> Variable: ...
def greater_equal_scalar(x0: Variable, val: float = 1) -> Variable: ...
def huber_loss(x0: Variable, x1: Variable, delta: float = 1.0) -> Variable: ...
def identity(x: Variable) -> Variable: ...
def interpolate(
    x: Variable,
    scale: Sequence[float] | None = None,
    output_size: Sequence[int] | None = None,
    mode: str = 'linear',
    align_corners: bool = False,
    half_pixel: bool = False,
    half_pixel_for_nn: bool = False,
    channel_last: bool = False,
) -> Variable: ...
def less(x0: Variable, x1: Variable) -> Variable: ...
def log(x: Variable) -> Variable: ...
def log_softmax(x: Variable, axis: int | None = None) -> Variable: ...
def max(
    x: Variable,
    axis: int | Sequence[int] | None = None,
    keepdims: bool = False,
    with_index: Literal[False] = False,
    only_index: bool = False,
) -> Variable: ...
def max_pooling(
    x: Variable,
    kernel: Sequence[int],
    stride: Sequence[int] | None = None,
    ignore_border: bool = True,
    pad: Sequence[int] | None = None,
    channel_last: bool = False,
) -> Variable: ...
def maximum_scalar(x: Variable, val: float = 1.0) -> Variable: ...
def mean(
    x: Variable, axis: int | Sequence[int] | None = None, keepdims: bool = False
) -> Variable: ...
def minimum_scalar(x: Variable, val: float = 1.0) -> Variable: ...
def pad(
    x: Variable, pad_width: Sequence[int], mode: str = 'constant', constant_value: float = 0
) -> Variable: ...
def pow_scalar(x: Variable, val: float = 1, inplace: bool = False) -> Variable: ...
def relu(x: Variable, inplace: bool = False) -> Variable: ...
def relu6(x: Variable) -> Variable: ...
def reshape(x: Variable, shape: Sequence[int], inplace: bool = True) -> Variable: ...
def sigmoid(x: Variable) -> Variable: ...
def slice(
    x: Variable,
    start: Sequence[int] | None = None,
    stop: Sequence[int] | None = None,
    step: Sequence[int] | None = None,
) -> Variable: ...
def softmax(x: Variable, axis: int | None = None) -> Variable: ...
def softmax_cross_entropy(x: Variable, target: Variable, axis: int | None = None) -> Variable: ...
def sort(
    x: Variable,
    axis: int = -1,
    reverse: bool = False,
    with_index: Literal[False] = False,
    only_index: bool = False,
) -> Variable: ...
def sum(
    x: Variable, axis: int | Sequence[int] | None = None, keepdims: bool = False
) -> Variable: ...
def swish(x: Variable) -> Variable: ...
def sync_batch_normalization(
    x: Variable,
    beta: Variable,
    gamma: Variable,
    mean: Variable,
    variance: Variable,
    comm: Communicator,
    group: str = 'world',
    axes: Sequence[int] = (1,),
    decay_rate: float = 0.9,
    eps: float = 1e-05,
    batch_stat: bool = True,
) -> Variable: ...
def transpose(x: Variable, axes: Sequence[int]) -> Variable: ...
