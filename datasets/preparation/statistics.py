"""Compute mean, standard deviation and class weights of a data set.

All sums are integers, so the result does not depend on the order of the files or the number of
processes; the divisions at the end are in float64. Below, ``n_c`` is the number of pixels of class
c and N the number of labelled pixels. Ignored pixels do not affect the weights.

- Median frequency balancing (Eigen and Fergus 2015, arXiv:1411.4734):
  f_c = n_c / (labelled pixels of the images that show class c), weight = median(f) / f_c.
- ENet (Paszke et al. 2016, arXiv:1606.02147): weight = 1 / ln(1.02 + n_c / N).
- Inverse log (ESPNet, Mehta et al. 2018, arXiv:1803.06815; sacmehta/ESPNet, train/loadData.py; used
  by DABNet): ENet's formula with a constant that makes weights more even,
  weight = 1 / ln(1.10 + n_c / N).
"""

from dataclasses import dataclass

import numpy as np

from common.process_map import map_samples
from datasets import label_scan
from datasets.dataset import Dataset
from datasets.info import IGNORE, DatasetInfo
from datasets.label_scan import LabelScan

ENET_CONSTANT, INVERSE_LOG_CONSTANT = 1.02, 1.10  # added to n_c / N in the logarithm


@dataclass(frozen=True)
class Statistics:
    """Integer sums over the samples of a split.

    Attributes:
        samples: Number of samples.
        values: (3, 256) int64, histograms of the red, green and blue channel of camera images.
        pixels: (C,) int64, number of pixels of each class, n_c.
        pixels_beside: (C,) int64, for each class the labelled pixels of all images that show it.
        ignored: Number of pixels without a class.
    """

    samples: int
    values: np.ndarray
    pixels: np.ndarray
    pixels_beside: np.ndarray
    ignored: int

    @property
    def mean(self) -> np.ndarray:
        """(3,) mean of the red, green and blue channel over all pixels, in 0..255."""
        return np.array([float(total / count) for count, total, _ in self._moments()])

    @property
    def std(self) -> np.ndarray:
        """(3,) population standard deviation of the three channels, in 0..255."""
        variances = [(count * squares - total**2) / count**2
                     for count, total, squares in self._moments()]  # fmt: skip
        return np.sqrt(np.array(variances, np.float64))

    def missing_classes(self, info: DatasetInfo) -> list[str]:
        """Return the names of the classes that no pixel belongs to."""
        return info.classes_without(self.pixels)

    def median_frequency(self) -> np.ndarray:
        """Return the weights of median frequency balancing, (C,); 0 for a class without pixels."""
        frequency = self.pixels / np.maximum(self.pixels_beside, 1)
        seen = self.pixels > 0
        weights = np.zeros(len(self.pixels))
        weights[seen] = np.median(frequency[seen]) / frequency[seen]
        return weights

    def enet(self) -> np.ndarray:
        """Return ENet's weights, (C,), from 1 / ln(2.02) = 1.42 to 1 / ln(1.02) = 50.5."""
        return 1 / np.log(ENET_CONSTANT + self._shares())

    def inverse_log(self) -> np.ndarray:
        """Return inverse-log weights, (C,), from 1 / ln(2.10) = 1.35 to 1 / ln(1.10) = 10.5."""
        return 1 / np.log(INVERSE_LOG_CONSTANT + self._shares())

    def _shares(self) -> np.ndarray:
        return self.pixels / max(int(self.pixels.sum()), 1)

    def _moments(self) -> list[tuple[int, int, int]]:
        """Return number, sum and sum of squares of every channel's values, as Python integers."""
        return [
            tuple(sum(int(n) * value**power for value, n in enumerate(channel))
                  for power in range(3))
            for channel in self.values
        ]  # fmt: skip


class ClassSums:
    """Adds up what the labels of samples show.

    Args:
        classes: Number of classes.
    """

    def __init__(self, classes: int) -> None:
        self.scan = LabelScan()
        self._beside = np.zeros(classes, np.int64)

    def add(self, scan: LabelScan) -> None:
        """Add the label of one sample."""
        pixels = scan.pixels[: len(self._beside)]
        self._beside += (pixels > 0) * pixels.sum()
        self.scan += scan

    def statistics(self, samples: int, values: np.ndarray) -> Statistics:
        """Return the statistics of a number of samples with these channel histograms."""
        pixels, ignored = self.scan.pixels[: len(self._beside)], int(self.scan.pixels[IGNORE])
        return Statistics(samples, values, pixels, self._beside, ignored)


def compute_statistics(dataset: Dataset, processes: int = 1) -> Statistics:
    """Return the statistics of a split with labels.

    Args:
        dataset: The split.
        processes: Number of worker processes.

    Raises:
        InputError: A file cannot be used.
        DataError: The label files contradict each other.
    """
    values, sums = np.zeros((3, 256), np.int64), ClassSums(len(dataset.info.classes))
    for sample_values, scan in map_samples(dataset, _count, processes, 'measuring'):
        values += sample_values
        sums.add(scan)
    label_scan.judge(dataset, sums.scan)
    return sums.statistics(len(dataset), values)


def _count(dataset: Dataset, index: int) -> tuple[np.ndarray, LabelScan]:
    """Return the histograms of a sample's red, green and blue, (3, 256), and its label's scan."""
    image, label, fact = dataset.examined_pair(index)
    camera_image = image[..., -3:]  # the last of several pictures
    scan = label_scan.scan_of_label(dataset[index].label, label, fact)
    return channel_counts(camera_image), scan


def channel_counts(image: np.ndarray) -> np.ndarray:
    """Return the histograms of red, green and blue, (3, 256), of an image, (H, W, 3) uint8, BGR."""
    return np.stack([np.bincount(image[..., i].ravel(), minlength=256) for i in (2, 1, 0)])
