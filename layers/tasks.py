"""Layers of networks with several inputs and several tasks."""

from itertools import accumulate

import nnabla as nn
import nnabla.functions as F

from layers import functions as L


def split_pictures(x: nn.Variable, count: int, build: L.Build) -> list[nn.Variable]:
    """Return the pictures of a scene, which are stacked over channels.

    Args:
        x: (N, C, H, W) input of the network.
        count: Number of pictures.
        build: Settings of the build.

    Returns:
        ``count`` Variables, each (N, C / count, H, W).
    """
    channels = L.channels_of(x, build) // count
    starts = (i * channels for i in range(count))
    return [L.slice_channels(x, start, start + channels, build) for start in starts]


def tap(x: nn.Variable, task: str, build: L.Build) -> nn.Variable:
    """Return the map as a task's decoder reads it, so that its gradient can be read alone.

    Without ``build.task_taps``, this is the map itself.

    Args:
        x: (N, C, H, W), the map of the encoder that all decoders read.
        task: Name of the task, the key in ``build.task_taps``.
        build: Settings of the build.
    """
    if build.task_taps is None:
        return x
    own = F.identity(x)
    own.persistent = True  # else passes that clear buffers reuse the memory of its gradient
    build.task_taps[task] = own
    return own


def join(outputs: list[nn.Variable], build: L.Build) -> list[nn.Variable]:
    """Let the gradients of all tasks pass one function, if batch norms are synchronized.

    Decoders of one kind have the same depth, so that a backward pass goes through them in the order
    in which it meets them. This order would depend on the losses, whose graphs depend on the size
    of a process's images. But all processes must reach the batch norms in the same order.

    Args:
        outputs: Outputs of the decoders, (N, C, H, W) of one size.
        build: Settings of the build.

    Returns:
        The same outputs, copied if batch norms are synchronized and there are several.
    """
    if len(outputs) == 1 or not build.synchronizes:
        return outputs
    ends = list(accumulate(L.channels_of(output, build) for output in outputs))
    joined = L.concatenate(*outputs, build=build)
    return [L.slice_channels(joined, start, stop, build) for start, stop in zip([0, *ends], ends)]


def clamp(x: nn.Variable, limits: tuple[float, float] | None) -> nn.Variable:
    """Limit values to a range, as PyTorch's Hardtanh; None leaves them as they are."""
    if limits is None:
        return x
    return F.minimum_scalar(F.maximum_scalar(x, limits[0]), limits[1])
