"""The readers to feed, each with valid files and kinds of damage."""

from fuzz.inputs import Reader
from fuzz.readers import (
    archives,
    caches,
    checkpoints,
    configs,
    downloads,
    exports,
    images,
    lists,
    masks,
    polygons,
    runs,
    scenes,
    videos,
    weights,
)

ALL: tuple[Reader, ...] = (
    *images.READERS,
    *masks.READERS,
    *videos.READERS,
    *weights.READERS,
    *checkpoints.READERS,
    *configs.READERS,
    *lists.READERS,
    *polygons.READERS,
    *runs.READERS,
    *scenes.READERS,
    *caches.READERS,
    *exports.READERS,
    *archives.READERS,
    *downloads.READERS,
)
