"""Find the image that an annotation belongs to, below the folder of images."""

import os
from collections import Counter
from pathlib import Path

from datasets.preparation.polygons.annotations import Annotation
from datasets.readers import layout, lists, trees


class ImageNames:
    """The images of a folder and its sub-folders, by their paths without endings.

    Args:
        folder: The folder.
        leave_out: The folder of the masks, which may be in it.

    Attributes:
        paths: The images by name.
    """

    def __init__(self, folder: Path, leave_out: Path | None):
        self._folder = Path(os.path.abspath(folder))
        self.paths = trees.tree(folder, layout.IMAGES, leave_out=leave_out).files
        counts = Counter(name.rpartition('/')[2] for name in self.paths)
        self._by_last_part = {
            name.rpartition('/')[2]: name
            for name in self.paths
            if counts[name.rpartition('/')[2]] == 1
        }

    def find(self, annotation: Annotation) -> str | None:
        """Return the name of an annotation's image; None if there is none.

        The path in the annotation can be relative to the annotation file, as that of LabelMe, or
        to the folder of images. Leading folders that do not exist here are ignored. Where a file
        is of one image alone, its own name counts as well, and last a name in any sub-folder.
        """
        listed = lists.forward_slashes(annotation.image)
        names = [self._beside(annotation.source, listed), *lists.names_meant(listed)]
        names += [os.path.splitext(name)[0] for name in names if name]
        if annotation.is_alone:
            names.append(self.name_of_file(annotation.source))
        names += [self._by_last_part.get(name or '') for name in names]
        return next((name for name in names if name in self.paths), None)

    def name_of_file(self, source: Path) -> str:
        """Return the name that an image of an annotation file's name has."""
        place = Path(os.path.abspath(source.with_suffix('')))
        if place.is_relative_to(self._folder):
            return place.relative_to(self._folder).as_posix()
        return place.name

    def _beside(self, source: Path, listed: str) -> str | None:
        """Return the name of the image of this path relative to the folder of a file."""
        place = Path(os.path.abspath(source.parent / listed))
        if not place.is_relative_to(self._folder):
            return None
        return os.path.splitext(place.relative_to(self._folder).as_posix())[0]
