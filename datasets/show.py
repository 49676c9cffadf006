"""Draw a contact sheet of a data set: image, labels and overlay, one row per sample.

    python -m datasets.show camvid -d data/camvid --split val -n 8 -o sheet.png

The samples are spread evenly over the split. Each caption shows the name and the size of the image,
and its classes with their colours and shares. Ignored pixels are black in the labels and unchanged
in the overlay.
"""

import sys
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

import datasets
from common import command, files
from common.errors import UserError
from common.settings import option
from common.terminal.printable import one_line
from common.writing.protected_files import ProtectedFiles
from datasets import IGNORE, Dataset, DatasetInfo, image_files, label_scan, protection, turned
from datasets.colours import BLACK, overlay, paint
from datasets.readers import layout
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
        settings.name, root, settings.split, settings.list_file, reading=settings.reading
    )
    _check_output(settings, root, dataset)
    shown = _spread(dataset, settings.number)
    labelled = [index for index in shown if dataset[index].label is not None]
    turned.warn([(dataset, turned.turned_images(dataset, labelled))], '--exif-orientation {0}')
    label_scan.warn(dataset, labelled)
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
    row = np.full((size[1] + GAP, 3 * (MAX_PICTURE_WIDTH + GAP) + GAP, 3), BACKGROUND, np.uint8)
    for column, picture in enumerate(pictures):
        left = GAP + column * (MAX_PICTURE_WIDTH + GAP)
        row[GAP:, left : left + size[0]] = picture
    return np.vstack((row, caption))


def _caption(title: str, labels: np.ndarray | None, info: DatasetInfo) -> np.ndarray:
    """Return the caption: the title, then the classes with colours and shares.

    The largest class comes first; classes beyond the end of the line are replaced by "...".
    """
    panel = Image.new('RGB', (3 * (MAX_PICTURE_WIDTH + GAP) + GAP, CAPTION_HEIGHT), BACKGROUND)
    draw, line = ImageDraw.Draw(panel), CAPTION_HEIGHT // 2
    font = ImageFont.load_default(size=line * 0.65)
    draw.text((GAP, line / 2), title, fill=TEXT_COLOUR, font=font, anchor='lm')
    left = float(GAP)
    for text, colour in _shares(labels, info):
        right = left + line + font.getlength(text)
        if right > panel.width - 2 * line:
            draw.text((left, 1.5 * line), '...', fill=TEXT_COLOUR, font=font, anchor='lm')
            break
        draw.rectangle(
            (left, line + 4, left + line - 8, 2 * line - 4), fill=colour, outline=TEXT_COLOUR
        )
        draw.text((left + line - 4, 1.5 * line), text, fill=TEXT_COLOUR, font=font, anchor='lm')
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
