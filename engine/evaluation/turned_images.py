"""Warn of images that their EXIF orientation turns beside labels, in all processes together."""

from collections.abc import Sequence

from common.terminal.progress import ProgressBar
from datasets import Dataset, turned
from engine.distributed.processes import Processes


def warn(datasets: Sequence[Dataset], processes: Processes) -> None:
    """Warn, on rank 0, of the turned images in data sets that have labels."""
    quiet = True if processes.rank else None  # None: shown on terminals only
    own = []
    for dataset in datasets:
        shard = processes.shard(len(dataset))
        bar = ProgressBar(shard, 'reading EXIF data', leave=False, unit='file', disable=quiet)
        own.append(turned.turned_images(dataset, bar))
    shards = processes.gather(own)
    found = [
        (dataset, sorted(index for shard in shards for index in shard[number]))
        for number, dataset in enumerate(datasets)
    ]
    if not processes.rank:
        turned.warn(found)
