"""The readers to feed, each with valid files and kinds of damage."""

from fuzz.inputs import Reader
from fuzz.readers import images, masks, weights

ALL: tuple[Reader, ...] = (*images.READERS, *masks.READERS, *weights.READERS)
