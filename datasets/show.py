"""Draw a contact sheet of a data set: image, labels and overlay, one row per sample.

    python -m datasets.show camvid -d data/camvid --split val -n 8 -o sheet.png

The samples are spread evenly over the split. Each caption shows the name and the size of the image,
and its classes with their colours and shares. Ignored pixels are black in the labels and unchanged
in the overlay.

    python -m datasets.show cityscapes --tasks depth segmentation motion --inputs 2 -o sheet.png

With several inputs or tasks, a row shows all pictures, then the targets: flow and depth in colours,
depth with a bar of its metres, classes over the image. The caption has a line for each task.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

import datasets
from common import command, files
from common.errors import UserError
from common.settings import option
from common.tasks import CLASSES
from common.terminal.printable import one_line
from common.writing.protected_files import ProtectedFiles
from datasets import IGNORE, Dataset, DatasetInfo, image_files, label_scan, protection, turned
from datasets.colours import BLACK, overlay, paint
from datasets.readers import layout
from datasets.scene_pictures import Cell, cells_of
from datasets.settings import DataSettings

OVERLAY_OPACITY = 0.5
MAX_PICTURE_WIDTH, MAX_PICTURE_HEIGHT = 480, 480  # pixels
GAP, CAPTION_HEIGHT = 8, 44  # pixels; the caption has two lines of text
BACKGROUND, TEXT_COLOUR = (255, 255, 255), (32, 32, 32)


@dataclass(frozen=True)
class SheetSettings(DataSettings):
    """Options of ``python -m datasets.show``."""

    split: str = option(
        '--split', metavar='S', default='train', help='split to show; default: train'
    )
    number: int = option(
        '-n', '--number', metavar='N', type=int, default=8, help='number of samples; default: 8'
    )
    output: Path = option(
        '-o',
        '--output',
        metavar='FILE',
        type=Path,
        required=True,
        help='image file to write, such as sheet.png',
    )


def build_parser() -> command.Parser:
    """Return the parser of ``python -m datasets.show``."""
    parser = command.Parser(
        'python -m datasets.show', description='Write a contact sheet of a data set.'
    )
    command.add_options(parser, SheetSettings)
    return parser


def main(args: Namespace) -> int:
    """Write the contact sheet that the command line requests."""
    write_sheet(command.settings(SheetSettings, args))
    return command.DONE


def write_sheet(settings: SheetSettings) -> None:
    """Write a contact sheet and print its path."""
    if settings.number < 1:
        raise UserError(f'-n {settings.number}: must be at least 1')
    image_files.check_format(settings.output)
    root = layout.data_root(settings.name, settings.data_dir)
    dataset = datasets.open(
        settings.name,
        root,
        settings.split,
        settings.list_file,
        reading=settings.reading,
        wanted=settings.wanted(datasets.info(settings.name, root)),
    )
    _check_output(settings, root, dataset)
    shown = _spread(dataset, settings.number)
    labelled = [index for index in shown if dataset[index].has_targets]
    turned.warn([(dataset, turned.turned_images(dataset, labelled))], '--exif-orientation {0}')
    tasks = [task.name for task in dataset.tasks if task.kind == CLASSES]
    for view in [dataset.of_task(task) for task in tasks] if dataset.tasks else [dataset]:
        label_scan.warn(view, [i for i in shown if view[i].label is not None])
    image_files.write_image(settings.output, contact_sheet(dataset, settings.number))
    print(f'{one_line(settings.output)} written')


def _check_output(settings: SheetSettings, root: Path, dataset: Dataset) -> None:
    """Raise ``UserError`` if the sheet would overwrite a file of the data set, or become one."""
    name, output = settings.name, settings.output
    protected = ProtectedFiles()
    protection.protect_dataset(protected, name, root, dataset.samples, settings.list_file)
    protected.claim('-o', output)
    if protection.holds_samples(output.parent, name, root, dataset.samples):
        raise UserError(
            f'-o {output}: this folder is of images or labels of the data set; name another one'
        )
    files.check_writable(output)


def contact_sheet(dataset: Dataset, number: int) -> np.ndarray:
    """Return a sheet with a row for each of at most ``number`` samples, (H, W, 3) uint8, BGR."""
    return np.vstack([_row(dataset, index) for index in _spread(dataset, number)])


def _spread(dataset: Dataset, number: int) -> list[int]:
    """Return the indices of at most ``number`` samples, evenly spread."""
    chosen = np.linspace(0, len(dataset) - 1, min(number, len(dataset))).round().astype(int)
    return [int(index) for index in chosen]


def _row(dataset: Dataset, index: int) -> np.ndarray:
    """Return the pictures of a sample side by side, with the caption below them."""
    if dataset.tasks or len(dataset.flow) > 1:
        return _row_of_scene(dataset, index)
    sample = dataset[index]
    if sample.label is None:
        image, labels = dataset.image(index), None
    else:
        image, labels = dataset.pair(index)
    height, width = image.shape[:2]
    caption = _caption(f'{sample.name}   {width}x{height}', labels, dataset.info)
    scale = min(MAX_PICTURE_WIDTH / width, MAX_PICTURE_HEIGHT / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    pictures = [image]
    if labels is not None:
        labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
        palette = dataset.info.palette
        pictures += [paint(labels, palette), overlay(image, labels, palette, OVERLAY_OPACITY)]
    return np.vstack((_side_by_side(pictures, size[1], 3), caption))


def _row_of_scene(dataset: Dataset, index: int) -> np.ndarray:
    """Return all pictures and targets of a scene side by side, with the caption below them."""
    cells = cells_of(dataset, index, (MAX_PICTURE_WIDTH, MAX_PICTURE_HEIGHT), OVERLAY_OPACITY)
    columns = len(dataset.flow) + len(dataset.tasks or (dataset.info.task,))
    height = max(len(cell.picture) for cell in cells)
    height_of_image, width = dataset.size(index)
    lines = [Line(f'{dataset[index].name}   {width}x{height_of_image}')]
    lines += [_line_of(cell, dataset) for cell in cells if cell.task is not None]
    row = _side_by_side([cell.picture for cell in cells], height, columns)
    return np.vstack((row, _panel(lines, row.shape[1])))


def _line_of(cell: Cell, dataset: Dataset) -> 'Line':
    """Return the line of the caption about the target in a cell."""
    if cell.labels is None:
        return Line(f'{cell.task}: {cell.remark}')
    return Line(f'{cell.task}:', _shares(cell.labels, dataset.info.of_task(str(cell.task))))


def _side_by_side(pictures: Sequence[np.ndarray], height: int, columns: int) -> np.ndarray:
    """Return pictures in a row of a number of columns, below a gap."""
    width = columns * (MAX_PICTURE_WIDTH + GAP) + GAP
    row = np.full((height + GAP, width, 3), BACKGROUND, np.uint8)
    for column, picture in enumerate(pictures):
        left = GAP + column * (MAX_PICTURE_WIDTH + GAP)
        row[GAP : GAP + len(picture), left : left + picture.shape[1]] = picture
    return row


@dataclass(frozen=True)
class Line:
    """A line of a caption.

    Attributes:
        text: Its beginning.
        shares: Classes with their colours, which follow it.
    """

    text: str
    shares: Sequence[tuple[str, tuple[int, int, int]]] = ()


def _caption(title: str, labels: np.ndarray | None, info: DatasetInfo) -> np.ndarray:
    """Return the caption: the title, then the classes with colours and shares."""
    lines = [Line(title), Line('', _shares(labels, info))]
    return _panel(lines, 3 * (MAX_PICTURE_WIDTH + GAP) + GAP)


def _panel(lines: Sequence[Line], width: int) -> np.ndarray:
    """Return a caption of some lines.

    The largest class comes first; classes beyond the end of the line are replaced by "...".
    """
    line = CAPTION_HEIGHT // 2
    panel = Image.new('RGB', (width, line * len(lines)), BACKGROUND)
    draw = ImageDraw.Draw(panel)
    font = ImageFont.load_default(size=line * 0.65)
    for number, each in enumerate(lines):
        top, middle = number * line, (number + 0.5) * line
        draw.text((GAP, middle), each.text, fill=TEXT_COLOUR, font=font, anchor='lm')
        left = GAP + (font.getlength(each.text) + GAP if each.text else 0.0)
        for text, colour in each.shares:
            right = left + line + font.getlength(text)
            if right > panel.width - 2 * line:
                draw.text((left, middle), '...', fill=TEXT_COLOUR, font=font, anchor='lm')
                break
            draw.rectangle(
                (left, top + 4, left + line - 8, top + line - 4), fill=colour, outline=TEXT_COLOUR
            )
            draw.text((left + line - 4, middle), text, fill=TEXT_COLOUR, font=font, anchor='lm')
            left = right + GAP
    return cv2.cvtColor(np.asarray(panel), cv2.COLOR_RGB2BGR)


def _shares(labels: np.ndarray | None, info: DatasetInfo) -> list[tuple[str, tuple[int, int, int]]]:
    """Return name with share of pixels, and colour, for each class of a label map."""
    if labels is None:
        return [('no labels', BACKGROUND)]
    counts = np.bincount(labels.ravel(), minlength=IGNORE + 1)
    names = dict(enumerate(info.classes)) | {IGNORE: 'ignored'}
    palette = dict(enumerate(info.palette)) | {IGNORE: BLACK}
    order = (int(index) for index in np.argsort(-counts, kind='stable') if counts[index])
    return [(f'{names[i]} {counts[i] / labels.size:.1%}', palette[i]) for i in order]


if __name__ == '__main__':
    sys.exit(command.run_command(build_parser, main))
