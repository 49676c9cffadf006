"""Segment images as the documentation says, one step after the other, in float64.

Only the network itself is NNabla's. The steps are those of the words: resize the image, normalise
it, pad it with the mean colour, run the network, look up every pixel's place in the maps, average.
"""

import cv2
import nnabla as nn
import numpy as np


def probabilities(network, image, protocol):
    """Return the mean class probabilities of all views, (num_classes, H, W) float64."""
    size, views = image.shape[:2], []
    for height, width in protocol.views(*size):
        x = normalised(resized(image, height, width), network.info)
        for mirrored in (False, True)[: 1 + protocol.flip]:
            shown = np.flip(x, axis=2) if mirrored else x
            if protocol.window:
                view = look_up(of_windows(network, shown, protocol), size, (1, 1))
            else:
                view = softmax(scores(network, shown, size))
            views.append(np.flip(view, axis=2) if mirrored else view)
    return np.mean(views, axis=0)


def resized(image, height, width):
    """Resize an image: averaged if it gets smaller, else interpolated."""
    if image.shape[:2] == (height, width):
        return image
    smaller = height * width < image.shape[0] * image.shape[1]
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=method)


def normalised(image, info):
    """Return (x - mean) / std, (3, H, W), channels in the network's order."""
    pixels = image[..., ::-1] if info.channel_order == 'rgb' else image
    return ((pixels - np.array(info.mean)) / np.array(info.std)).transpose(2, 0, 1)


def scores(network, x, size):
    """Return the logits of the pixels of an image of ``size``, which a view ``x`` shows."""
    divisor, least = network.info.size_divisor, network.info.smallest_size
    full = [-(-max(length, least) // divisor) * divisor for length in x.shape[1:]]
    padded = np.zeros((1, 3, *full))
    padded[0, :, : x.shape[1], : x.shape[2]] = x
    maps = network(nn.Variable.from_numpy_array(padded.astype(np.float32)))[0]
    maps.forward(clear_buffer=True)
    shown = [seen / length for seen, length in zip(x.shape[1:], full)]
    return look_up(maps.d[0].astype(np.float64), size, shown)


def of_windows(network, x, protocol):
    """Return the mean probabilities of the windows of a view, at the view's size."""
    total, weights = 0, np.zeros(x.shape[1:])
    for rows, columns in protocol.windows(*x.shape[1:]):
        part = x[:, rows, columns]
        height, width = part.shape[1:]
        to_border = [[min(i + 1, n - i) for i in range(n)] for n in (height, width)]
        weight = np.zeros(x.shape[1:])
        weight[rows, columns] = np.outer(*to_border)
        spread = np.zeros((network.info.num_classes, *x.shape[1:]))
        spread[:, rows, columns] = softmax(scores(network, part, (height, width)))
        total, weights = total + spread * weight, weights + weight
    return total / weights


def look_up(maps, size, shown):
    """Interpolate maps at the centre of every pixel of an image.

    Args:
        maps: (C, h, w) float64.
        size: Height and width of the image.
        shown: Shares of the maps' height and width that the image covers.
    """
    for axis, (new, share) in enumerate(zip(size, shown), start=1):
        length = maps.shape[axis]
        centres = (np.arange(new) + 0.5) / new  # shares of the image
        places = np.clip(centres * share * length - 0.5, 0, length - 1)
        before = np.floor(places).astype(int)
        after = np.minimum(before + 1, length - 1)
        weight = (places - before).reshape([-1 if i == axis else 1 for i in range(3)])
        maps = maps.take(before, axis) * (1 - weight) + maps.take(after, axis) * weight
    return maps


def softmax(logits):
    """Return the softmax over the classes."""
    powers = np.exp(logits - logits.max(axis=0))
    return powers / powers.sum(axis=0)
