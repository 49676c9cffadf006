"""Warn of images that their EXIF orientation turns beside labels, in all processes together."""

from collections.abc import Sequence

from datasets import Dataset, turned
from engine.distributed.processes import Processes


def warn(datasets: Sequence[Dataset], processes: Processes) -> None:
    """Warn, on rank 0, of the turned images in data sets that have labels."""
    own = [turned.turned_images(each, processes.shard(len(each))) for each in datasets]
    shards = processes.gather(own)
    found = [
        (dataset, sorted(index for shard in shards for index in shard[number]))
        for number, dataset in enumerate(datasets)
    ]
    if not processes.rank:
        turned.warn(found)
