"""Write masks of class indices for annotated images, and the ``dataset.yaml`` that goes with them.

A mask that is there and equal is kept, so that an interrupted conversion resumes. One that differs
is replaced if the annotation is newer; otherwise it may have been drawn by hand, and stays.
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from common import files
from common.command import DONE, SOME_FAILED
from common.errors import UserError
from common.log import LOG
from common.process_map import map_samples
from common.terminal.name_list import first_names
from common.terminal.printable import one_line
from common.terminal.tables import Column, lines
from datasets import formats, label_scan, pixel_limit
from datasets.image_files import decode_image, image_size
from datasets.info import IGNORE, DataError
from datasets.keys import ImageReading
from datasets.label_scan import LabelScan
from datasets.preparation import inside
from datasets.preparation.convert import KEPT, WRITTEN, holds, is_older, write_verified
from datasets.preparation.describing import description_file
from datasets.preparation.describing.description_file import ClassLine
from datasets.preparation.describing.folders import Folders
from datasets.preparation.polygons import drawing, labelme
from datasets.preparation.polygons.annotations import Annotation
from datasets.preparation.polygons.classes import Classes, choose_classes
from datasets.preparation.polygons.image_names import ImageNames
from datasets.preparation.polygons.reading import Read, read_all
from datasets.preparation.polygons.settings import PolygonSettings
from datasets.preparation.settings import number_of_processes
from datasets.readers import folder, folder_description, layout
from datasets.readers.folder_description import COLOURS, DESCRIPTION_FILE, Description

NAME = folder.INFO.name
EXTENSIONS = {formats.JPEG: '.jpg', formats.TIFF: '.tif', formats.PNM: '.ppm'}


@dataclass(frozen=True)
class _Job:
    """A mask to write.

    Attributes:
        annotation: What the image shows.
        image: The image; it may be missing if the annotation contains it.
        mask: The file to write.
    """

    annotation: Annotation
    image: Path
    mask: Path


def convert_polygons(settings: PolygonSettings) -> int:
    """Write the masks, print what they have, and return the exit status.

    Raises:
        UserError: The options or the annotations cannot be used.
    """
    processes = number_of_processes(settings.processes)
    root = layout.data_root(NAME, settings.data_dir)
    if not root.is_dir():
        raise DataError(f'{root}: no such folder; name that of your images with -d')
    described = _described(root)
    places = _places(root, settings, described)
    inside.refuse_outside(root, root / places.labels)
    images = ImageNames(root / places.images, leave_out=_apart(root, places))
    read = read_all(settings.annotations, processes)
    own = None if described is None else described.classes
    chosen = choose_classes(settings, read.annotations, read.declared, own)
    jobs, problems = _jobs(read, images, root, places)
    if not jobs:
        raise DataError(problems[0])
    if described is None:
        lines_of_classes = [ClassLine(name) for name in chosen.names]
        description_file.write(root, places, lines_of_classes, folder_description.INDICES, [IGNORE])
    write_mask = partial(_write_mask, root, chosen, settings.reading)
    outcomes, total = Counter[str](), LabelScan()
    for outcome, scan in map_samples(jobs, write_mask, processes, 'drawing'):
        outcomes[outcome] += 1
        total += scan
    failed = [outcome for outcome in outcomes if outcome not in (WRITTEN, KEPT)]
    problems += failed
    if len(failed) == len(jobs) and described is None:
        (root / DESCRIPTION_FILE).unlink()  # its classes would bind the next try
        raise DataError(problems[0])
    for problem in problems:
        print(one_line(problem))
    print(
        f'{one_line(root / places.labels)}: {outcomes[WRITTEN]} masks written, {outcomes[KEPT]} '
        f'were up to date, {len(problems)} failed'
    )
    _print_classes(chosen, total)
    _report(root, read, images, jobs)
    if described is None:
        unused = [name for name in dict.fromkeys(read.declared) if name not in chosen.indices]
        if unused:
            LOG.info('labels that no shape has are no classes: %s', first_names(unused, 10))
        print(f'{one_line(root / DESCRIPTION_FILE)} written')
    return SOME_FAILED if problems else DONE


def _described(root: Path) -> Description | None:
    """Return the description that the data has already; raises ``UserError``."""
    path = root / DESCRIPTION_FILE
    if files.kind_of(path) is None:
        return None
    found = folder_description.read(root)
    if found.label_format == COLOURS:
        raise UserError(
            f'{path}: label_format is {COLOURS}, but masks of class indices are to be written; '
            'move it away'
        )
    return found


def _places(root: Path, settings: PolygonSettings, described: Description | None) -> Folders:
    """Return the folders of images and masks: those of ``dataset.yaml``, or of the options."""
    images = inside.folder_in(root, '--images', settings.images)
    labels = inside.folder_in(root, '--labels', settings.labels)
    if described is None:
        usual = 'images' if (root / 'images').is_dir() else '.'
        return Folders(images or usual, labels or 'labels', '')
    for option, named, own in (
        ('--images', images, described.images),
        ('--labels', labels, described.labels),
    ):
        if named is not None and Path(named) != Path(own):
            raise UserError(
                f'{option} {named}: {root / DESCRIPTION_FILE} says {own}; omit {option}, or move '
                'the file away'
            )
    return Folders(described.images, described.labels, described.label_suffix)


def _apart(root: Path, places: Folders) -> Path | None:
    """Return the folder of masks unless it is that of the images."""
    return None if Path(places.images) == Path(places.labels) else root / places.labels


def _jobs(
    read: Read, images: ImageNames, root: Path, places: Folders
) -> tuple[list[_Job], list[str]]:
    """Return the masks to write, and a line for each annotation without an image."""
    problems, jobs, seen = list(read.problems), list[_Job](), dict[str, Path]()
    photos = set(images.paths.values())
    for annotation in read.annotations:
        name = images.find(annotation)
        if name is None and annotation.has_image:
            name = images.name_of_file(annotation.source)
        if name is None:
            problems.append(
                f'{annotation.source}: there is no image {annotation.image} in '
                f'{root / places.images}; name the folder of the images with --images'
            )
            continue
        if name in seen:
            if seen[name] == annotation.source:
                raise DataError(
                    f'{annotation.source}: has two entries of the image {name}; remove one of them'
                )
            raise DataError(
                f'{annotation.source}: the image {name} is annotated in {seen[name]} as well; '
                'name one of them'
            )
        seen[name] = annotation.source
        mask = root / places.labels / f'{name}{places.suffix}.png'
        if mask in photos:
            raise DataError(f'{mask}: is an image, not a mask; name another folder with --labels')
        jobs.append(_Job(annotation, images.paths.get(name, root / places.images / name), mask))
    return jobs, problems


def _write_mask(
    root: Path, classes: Classes, reading: ImageReading, jobs: Sequence[_Job], index: int
) -> tuple[str, LabelScan]:
    """Write a mask; return ``WRITTEN``, ``KEPT`` or a problem, and the scan of a good mask."""
    job = jobs[index]
    try:
        inside.refuse_outside(root, job.mask)
        labels = _drawn(root, job, classes, reading)
        scan = label_scan.scan_of_label(job.mask, labels, None)
        if holds(job.mask, labels):
            return KEPT, scan
        if not is_older(job.mask, job.annotation.source):
            return (
                f'{job.mask}: exists, is newer than {job.annotation.source} and differs from it; '
                'move it away to draw it anew'
            ), LabelScan()
        write_verified(job.mask, labels)
    except UserError as error:
        return str(error), LabelScan()
    return WRITTEN, scan


def _drawn(root: Path, job: _Job, classes: Classes, reading: ImageReading) -> np.ndarray:
    """Return the class indices of an image; raises ``UserError``."""
    annotation, image = job.annotation, job.image
    if annotation.has_image and not os.path.lexists(image):
        image = _write_image(root, job, reading)
    height, width = image_size(image, reading)
    pixel_limit.check(width, height, image, reading.max_pixels)
    return drawing.draw(annotation, image, (height, width), classes.indices, classes.background)


def _write_image(root: Path, job: _Job, reading: ImageReading) -> Path:
    """Write the image that an annotation contains, and return its path; raises ``UserError``."""
    source = job.annotation.source
    data = labelme.image_data(source)
    decode_image(data, f'{source}, imageData', reading)
    kind = formats.format_of(data[: formats.HEAD_BYTES]) or ''
    path = job.image.with_name(job.image.name + EXTENSIONS.get(kind, f'.{kind.lower()}'))
    inside.refuse_outside(root, path)
    with files.replacing(path) as temporary:
        temporary.write_bytes(data)
    return path


def _print_classes(chosen: Classes, total: LabelScan) -> None:
    """Print the share of each class, and the number of masks that show it."""
    shares = 100 * total.pixels / max(int(total.pixels.sum()), 1)
    rows = [
        (str(index), name, f'{shares[index]:.3f}', str(total.images[index]))
        for index, name in enumerate(chosen.names)
    ]
    heads = ('value', 'class', 'pixels %', 'masks')
    columns = [Column(head, right=number > 1) for number, head in enumerate(heads)]
    print(*lines(columns, rows), sep='\n')
    if total.pixels[IGNORE]:
        print(f'ignored: {shares[IGNORE]:.3f} % of the pixels')


def _report(root: Path, read: Read, images: ImageNames, jobs: Sequence[_Job]) -> None:
    """Log what is left out."""
    undrawn = sum(annotation.undrawn for annotation in read.annotations)
    if undrawn:
        LOG.warning('%d points, lines and cuboids have no area and are not drawn', undrawn)
    annotated = {job.image for job in jobs}
    others = [path for path in images.paths.values() if path not in annotated]
    if others:
        shown = first_names([path.relative_to(root) for path in others])
        LOG.warning('%d images have no annotation and get no mask: %s', len(others), shown)
