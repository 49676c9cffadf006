"""Pair the images of a user's own folder with labels, targets of tasks and further pictures."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common.tasks import SEGMENTATION
from datasets.readers import layout, trees
from datasets.readers.folder_description import DESCRIPTION_FILE, Description
from datasets.samples import (
    NO_LABEL,
    FoundSamples,
    Sample,
    SceneFiles,
    UnusedFile,
    called,
    without_image,
)

SPLITS = ('train', 'val', 'test')
ANNOTATIONS = ('.json', '.xml')  # endings of files that masks are made from
# Masks of these formats are not read, but refused by name instead of taken for missing.
_NO_MASKS = (*(ending for ending in layout.IMAGES if ending not in layout.PNG), '.npy', '.mat')


LABEL, TARGET, PICTURE = 'label', 'target', 'picture'  # roles of files that belong to images


@dataclass(frozen=True)
class _Partners:
    """The files of one kind that belong to images.

    Attributes:
        role: One of the roles at the top of this file.
        kind: ``label``, the name of a task, or what further pictures are called.
        files: The files by name.
    """

    role: str
    kind: str
    files: dict[str, Path]


@dataclass(frozen=True)
class FolderFiles:
    """Images and their partners by name, and the files beside them, by name as well.

    Attributes:
        wanted: The files of a scene that are wanted.
        images: The images.
        partners: What belongs to the images, without which they are not used.
        others: The files that are neither.
    """

    wanted: SceneFiles
    images: dict[str, Path]
    partners: tuple[_Partners, ...]
    others: tuple[tuple[str, UnusedFile], ...]

    def samples(self, split: str) -> FoundSamples:
        """Return the images that have all partners; in the test split targets are optional."""
        needed = [each for each in self.partners if split != 'test' or each.role == PICTURE]
        left = [file for _, file in self.others]
        for each in needed:
            reason = NO_LABEL if each.role == LABEL else f'no {each.kind}'
            left += trees.without(self.images, each.files, reason)
        for each in self.partners:
            left += trees.without(each.files, self.images, without_image(each.kind))
        complete = [name for name in self.images if all(name in each.files for each in needed)]
        return FoundSamples(tuple(map(self._sample, sorted(complete))), tuple(left))

    def every_image(self) -> FoundSamples:
        """Return a sample for each image, whatever it lacks."""
        return FoundSamples(tuple(map(self._sample, sorted(self.images))))

    def part(self, split: str) -> 'FolderFiles':
        """Return the files in the folders of a split; those in no split's folder are not used."""
        own, splits = f'{split}/', tuple(f'{name}/' for name in SPLITS)
        stray = [(name, path) for name, path in self.images.items() if not name.startswith(splits)]
        others = [
            *((name, file) for name, file in self.others if name.startswith(own)),
            *((name, file) for name, file in self.others if not name.startswith(splits)),
            *((name, UnusedFile(path, 'in the folder of no split')) for name, path in stray),
        ]

        def below(files: dict[str, Path]) -> dict[str, Path]:
            return {name[len(own) :]: p for name, p in files.items() if name.startswith(own)}

        partners = (replace(each, files=below(each.files)) for each in self.partners)
        return FolderFiles(self.wanted, below(self.images), tuple(partners), tuple(others))

    def _sample(self, name: str) -> Sample:
        image = self.images[name]
        found = {(each.role, each.kind): each.files.get(name) for each in self.partners}
        label = found.get((LABEL, LABEL))
        targets = {task: found.get((TARGET, task)) for task in self.wanted.tasks}
        if SEGMENTATION in targets:
            targets[SEGMENTATION] = label
        first = next((path for (role, _), path in found.items() if role == PICTURE), None)
        return Sample(
            name,
            image,
            label,
            pictures=() if first is None else (first, image),
            targets=tuple((task, path) for task, path in targets.items() if path is not None),
        )


def files_of(root: Path, description: Description, wanted: SceneFiles) -> FolderFiles:
    """Return all files of the folders; one can lie in another, or be another.

    Raises:
        DataError: The folder of the first pictures is that of the images.
    """
    images, labels = root / description.images, root / description.labels
    places = {task: root / found.labels for task, found in description.tasks}
    suffixes = {task: found.label_suffix for task, found in description.tasks}
    targets = {
        task: trees.tree(places[task], layout.PNG, suffix, leave_out=images)
        for task, suffix in suffixes.items()
    }
    searched = [(places[task], targets[task]) for task in wanted.tasks if task in targets]
    pictures = trees.tree(images, layout.IMAGES, leave_out=labels)
    known = trees.tree(labels, layout.PNG, description.label_suffix, leave_out=images)
    listed = [(suffixes[task], tree.files) for task, tree in targets.items()]
    listed.append((description.label_suffix, known.files))
    input_folder = wanted.input_folder or description.input_folder
    if input_folder is not None:
        place = root / input_folder
        layout.check_first_folder(place, images)
        first = trees.tree(place, layout.IMAGES, leave_out=images)
        listed.append(('', first.files))
        if wanted.inputs > 1:
            searched.append((place, first))
    divided = _divided(listed, pictures.files)
    of_task = dict(zip(targets, divided))
    masks, firsts = divided[len(targets)], divided[len(targets) + 1 :]
    further = {path for files in (*of_task.values(), *firsts) for path in files.values()}
    masks = {name: path for name, path in masks.items() if path not in further}
    partners = [_Partners(TARGET, task, of_task[task]) for task in wanted.tasks if task in of_task]
    if wanted.inputs > 1:
        partners += [_Partners(PICTURE, called(wanted.input_kind), files) for files in firsts]
    wrong = trees.tree(labels, _NO_MASKS, description.label_suffix, leave_out=images).files
    masks |= {
        name: path
        for name, path in wrong.items()
        if pictures.files.get(name, path) != path and name not in known.files
    }
    own_masks = set(masks.values())
    photos = {
        name: path
        for name, path in pictures.files.items()
        if path not in own_masks and path not in further
    }
    own = {root / name for name in (DESCRIPTION_FILE, *(f'{split}.txt' for split in SPLITS))}
    own |= own_masks | set(photos.values()) | further
    others = [
        (file.path.relative_to(folder).as_posix(), file)
        for folder, found in ((images, pictures), (labels, known), *searched)
        for file in found.unused
        if file.path not in own and not _is_annotation(file.path, folder, photos)
    ]
    if not wanted.tasks or SEGMENTATION in wanted.tasks:
        partners.insert(0, _Partners(LABEL, 'label', masks))
    return FolderFiles(wanted, photos, tuple(partners), tuple(others))


def _divided(
    listed: Sequence[tuple[str, dict[str, Path]]], images: Collection[str]
) -> list[dict[str, Path]]:
    """Return the files of each kind, without those that belong to another kind.

    Of several kinds in one folder, a file belongs to that whose suffix leaves the name of an image,
    and of these to that with the longest suffix. Kinds with equal suffixes share their files.

    Args:
        listed: The suffix of each kind, and the files by name that have it.
        images: Names of the images.
    """
    best: dict[Path, tuple[bool, int]] = {}
    for suffix, files in listed:
        for name, path in files.items():
            best[path] = max(best.get(path, (False, 0)), (name in images, len(suffix)))
    return [
        {name: path for name, path in files.items() if best[path] == (name in images, len(suffix))}
        for suffix, files in listed
    ]


def _is_annotation(path: Path, folder: Path, photos: dict[str, Path]) -> bool:
    """Return whether a file is the annotation of an image beside it, from which masks are made."""
    name = path.relative_to(folder).with_suffix('').as_posix()
    return path.suffix.lower() in ANNOTATIONS and name in photos
