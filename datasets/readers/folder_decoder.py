"""Decide what the values of a user's mask files mean: class indices, or colours of classes.

``label_format`` of ``dataset.yaml`` decides. Without it:

- A colour image has the colours of the classes, unless all its pixels are grey and class indices.
- A grey image has class indices. It has colours instead if each value v is the colour (v, v, v) of
  a class, and either some value is no class index or all classes have grey colours.
- A palette image has class indices. It is refused if its palette shows other colours for them than
  ``dataset.yaml`` defines; a palette of grey levels alone has no meaning.

Some cases need all files of a split, see :mod:`datasets.label_reading`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import InputError
from datasets import label_reading, mask_advice
from datasets.info import IGNORE, DataError
from datasets.label_reading import LabelReading
from datasets.readers import label_files, mask_files
from datasets.readers.folder_description import COLOURS, DESCRIPTION_FILE, INDICES, Description
from datasets.readers.label_files import NO_CLASS
from datasets.readers.mask_files import Mask


@dataclass(frozen=True)
class Decoder:
    """A decoder of label files: returns class indices, (H, W) uint8, with 255 for ignored pixels.

    Attributes:
        description: The content of ``dataset.yaml``.
    """

    description: Description

    def __call__(self, path: Path) -> np.ndarray:
        """Return the class indices of a label file; raises ``InputError``."""
        return self.read(path)[0]

    def read(self, path: Path) -> tuple[np.ndarray, str]:
        """Return the class indices of a label file, and its fact; raises ``InputError``."""
        labels, reading = self._read(path)
        return labels, reading.as_text()

    def problems(
        self, facts: label_reading.Facts, others: label_reading.Facts
    ) -> list[tuple[Path, str]]:
        """Return what is wrong with the label files of a split, beside those of other splits."""
        return label_reading.problems(facts, others, self.description.classes)

    def _read(self, path: Path) -> tuple[np.ndarray, LabelReading]:
        mask = mask_files.read(path)
        if mask.values is None:
            return self._read_colour_image(mask)
        used = np.flatnonzero(label_files.occurring_values(mask.values))
        indices, colours = self._meanings_as_indices(), self._meanings_as_colours(mask)
        form = self._form(mask, used, indices, colours)
        by_colour = form in (label_reading.GREY_COLOURS, label_reading.COLOURS)
        table = colours if by_colour else indices
        if (table[used] == NO_CLASS).any():
            raise InputError(f'{path}: {self._unknown_values(mask, used, table, by_colour)}')
        return label_files.translate(mask.values, table, path), LabelReading(
            form,
            self._compared_palette(mask, used, indices),
            supposed=IGNORE in used and not by_colour and not self._ignores_255(colours),
            first=0 in table[used],
            more=bool(np.isin(table[used], (0, IGNORE), invert=True).any()),
        )

    def _read_colour_image(self, mask: Mask) -> tuple[np.ndarray, LabelReading]:
        meanings, names = self._meanings_of_colours(), self.description.classes
        assert mask.colours is not None  # a mask has values or colours
        if self.description.label_format == INDICES:
            raise InputError(
                f'{mask.path}: a colour image, but class indices are expected; save them as an '
                f'8-bit grey PNG, or write label_format: {COLOURS} and the colours of the classes '
                f'into {DESCRIPTION_FILE}'
            )
        if not self.description.colours:
            raise DataError(
                f'{mask.path}: a colour image, but {DESCRIPTION_FILE} defines no class colours; '
                + mask_advice.for_colours(mask.colours, names)
            )
        try:
            labels = label_files.indices_of_colours(mask.colours, meanings, mask.path)
        except InputError as error:
            hint = mask_advice.for_unknown_colours(mask.colours, len(meanings))
            raise InputError(f'{error}{hint}') from error
        shown = label_files.occurring_values(labels)
        return labels, LabelReading(
            label_reading.COLOURS, first=bool(shown[0]), more=bool(shown[1:IGNORE].any())
        )

    def _form(self, mask: Mask, used: np.ndarray, indices: np.ndarray, colours: np.ndarray) -> str:
        """Return the form in which to read a mask with values, a constant of label_reading."""
        if self.description.label_format == INDICES:
            return label_reading.GREY_INDICES
        if self.description.label_format == COLOURS:
            return label_reading.COLOURS if mask.has_palette else label_reading.GREY_COLOURS
        if mask.has_palette:
            self._check_palette(mask, used, indices, colours)
            return ''
        return self._form_of_grey(mask, used, indices, colours)

    def _form_of_grey(
        self, mask: Mask, used: np.ndarray, indices: np.ndarray, colours: np.ndarray
    ) -> str:
        fit_indices = (indices[used] != NO_CLASS).all()
        fit_colours = (colours[used] != NO_CLASS).all()
        differing = used[indices[used] != colours[used]]
        if not fit_colours:
            but_255 = (colours[used[used != IGNORE]] != NO_CLASS).all()
            as_colours = self.description.colours and not fit_indices and (mask.is_rgb or but_255)
            return label_reading.GREY_COLOURS if as_colours else label_reading.GREY_INDICES
        if not differing.size:
            return ''
        supposed_only = differing.tolist() == [IGNORE] and not self._ignores_255()
        if not fit_indices or supposed_only or mask.is_rgb:
            return label_reading.GREY_COLOURS
        grey_classes = all(len(set(colour)) == 1 for colour in self.description.colours)
        contrary = self.description.ignored_values & set(differing.tolist())
        if grey_classes and not contrary:
            return label_reading.GREY_COLOURS
        if grey_classes or mask.bits < 8:
            raise InputError(
                f'{mask.path}: the value {differing[0]} can be a class index or the colour of '
                f'another class; write label_format: {INDICES} or label_format: {COLOURS} into '
                f'{DESCRIPTION_FILE}'
            )
        return label_reading.EITHER

    def _check_palette(
        self, mask: Mask, used: np.ndarray, indices: np.ndarray, colours: np.ndarray
    ) -> None:
        """Raise ``InputError`` if the palette shows other colours than dataset.yaml defines."""
        if not self.description.colours:
            return
        by_colours = f'label_format: {COLOURS} to take the colours'
        by_values = f'label_format: {INDICES} to take the values as they are'
        all_known = (colours[used] != NO_CLASS).all()
        for value in used[~self._ignored(mask, used, colours)]:
            colour = mask.shown[value].tolist()
            own = self._name(indices[value])
            meant = self._name(colours[value])
            where = f'{mask.path}: its palette gives index {value}'
            into = f'into {DESCRIPTION_FILE}'
            if meant and own != meant:
                choices = f'{by_colours}, or {by_values}' if all_known else by_values
                raise InputError(
                    f'{where} the colour of {meant}, so its indices are not class indices; '
                    f'write {choices}, {into}'
                )
            if own and not meant and not _is_grey(mask.shown[used]):
                right = list(self.description.colours[indices[value]])
                raise InputError(
                    f'{where}, {own}, the colour {colour}, but {DESCRIPTION_FILE} says {right}; '
                    f'correct the colours there, or write {by_values}, {into}'
                )

    def _ignored(self, mask: Mask, used: np.ndarray, colours: np.ndarray) -> np.ndarray:
        """Return which used values are ignored, whatever their colour.

        Programs that fill a palette with black give 255 the colour of a black class as well.
        """
        stated = np.isin(used, list(self.description.ignored_values))
        meant = colours[IGNORE]
        filling = meant != IGNORE and (mask.shown[meant] == mask.shown[IGNORE]).all()
        return stated | ((used == IGNORE) & (meant == NO_CLASS or filling))

    def _compared_palette(
        self, mask: Mask, used: np.ndarray, indices: np.ndarray
    ) -> tuple[tuple[int, label_reading.Colour], ...]:
        """Return the part of a palette that must be equal in all files, as nothing defines it."""
        alone = not self.description.colours and self.description.label_format is None
        if not alone or not mask.has_palette or _is_grey(mask.shown[used]):
            return ()
        shown = [value for value in used.tolist() if indices[value] != IGNORE]
        return tuple((value, tuple(mask.shown[value].tolist())) for value in shown)

    def _unknown_values(
        self, mask: Mask, used: np.ndarray, table: np.ndarray, by_colour: bool
    ) -> str:
        """Return what is wrong with values that have no meaning, and the remedy."""
        wrong = used[table[used] == NO_CLASS]
        if not by_colour:
            listed = ', '.join(map(str, wrong[:5]))
            advice = mask_advice.for_values(used, self.description.classes, bool(mask.has_palette))
            return f'holds the values {listed}, which have no meaning in this data set; {advice}'
        if wrong.tolist() == [IGNORE] and not mask.has_palette:
            return (
                'its grey values are colours of classes, except 255; if this means ignored pixels, '
                f'write ignore: [255] into {DESCRIPTION_FILE}'
            )
        shown = tuple(mask.shown[wrong[0]].tolist())
        if mask.has_palette or mask.is_rgb:
            return (
                f'the colour {shown} belongs to no class; correct the colours in {DESCRIPTION_FILE}'
            )
        return (
            f'grey values, but colours are expected; {shown} belongs to no class. Are these class '
            f'indices already? Then write label_format: {INDICES} into {DESCRIPTION_FILE}'
        )

    def _meanings_as_indices(self) -> np.ndarray:
        """Return class indices by value, (256,) int16."""
        known = {index: index for index in range(len(self.description.classes))}
        ignored = dict.fromkeys({IGNORE} | self.description.ignored_values, IGNORE)
        return label_files.values_table(known | ignored)

    def _meanings_of_colours(self) -> dict[label_reading.Colour, int]:
        if not self.description.colours:
            return {}
        known = {colour: index for index, colour in enumerate(self.description.colours)}
        return known | dict.fromkeys(self.description.ignored_colours, IGNORE)

    def _meanings_as_colours(self, mask: Mask) -> np.ndarray:
        """Return class indices by the colours that the values of a mask have, (256,) int16."""
        table = np.full(256, NO_CLASS, np.int16)
        for colour, index in self._meanings_of_colours().items():
            table[(mask.shown == colour).all(axis=1)] = index
        ignored = list(self.description.ignored_values)
        table[ignored] = np.where(table[ignored] == NO_CLASS, IGNORE, table[ignored])
        return table

    def _ignores_255(self, colours: np.ndarray | None = None) -> bool:
        """Return whether dataset.yaml says that 255 is ignored."""
        by_colour = colours is not None and colours[IGNORE] == IGNORE
        return IGNORE in self.description.ignored_values or by_colour

    def _name(self, index: int) -> str:
        if index == NO_CLASS:
            return ''
        if index == IGNORE:
            return 'ignored pixels'
        return f'class {index} ({self.description.classes[index]})'


def _is_grey(colours: np.ndarray) -> bool:
    return bool((colours == colours[:, :1]).all())
