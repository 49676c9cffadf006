"""What the label files of a split must agree on, because a single file does not show it.

A mask with the values 0 and 255 has one class and ignored pixels, or two classes. Whether its
values, its grey levels or the colours of its palette are the classes, can also depend on the other
files. A decoder that knows these cases returns a :class:`LabelReading` for each file. Readings are
kept as text, with the number of files that have it and the first one: equal readings of many files
take little room, in a cache or in a message between processes.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path

from datasets import mask_advice

Colour = tuple[int, int, int]
Facts = Mapping[str, tuple[int, str]]  # by reading as text: number of files, path of the first
# How the pixels of a label file were read, if it matters for other files.
GREY_INDICES, GREY_COLOURS = 'class indices', 'the colours of classes'
EITHER = 'class indices, though they are colours of classes as well'
COLOURS = 'colours'
_SOME = 3  # files; fewer may have ignored pixels beside the first class only
_EXCLUDED = {  # forms that must not occur beside each
    GREY_COLOURS: (GREY_INDICES, EITHER),
    GREY_INDICES: (GREY_COLOURS,),
    EITHER: (GREY_COLOURS, COLOURS),
    COLOURS: (EITHER,),
}


@dataclass(frozen=True)
class LabelReading:
    """How a decoder has read a label file.

    Attributes:
        form: One of the constants of this module; empty if the file fits every other.
        palette: Index and colour of the used entries of a palette, if they may be classes.
        supposed: Whether 255 was taken for ignored pixels by default only.
        first: Whether the first class occurs.
        more: Whether another class occurs.
    """

    form: str = ''
    palette: tuple[tuple[int, Colour], ...] = ()
    supposed: bool = False
    first: bool = False
    more: bool = False

    def as_text(self) -> str:
        """Return the reading as text; equal readings give equal texts."""
        return json.dumps(astuple(self))

    @staticmethod
    def of_text(text: str) -> 'LabelReading':
        """Return the reading that :meth:`as_text` has written.

        Raises:
            ValueError: The text is none that it writes.
        """
        try:
            form, palette, *rest = json.loads(text)
            entries = tuple((index, tuple(colour)) for index, colour in palette)
            reading = LabelReading(form, entries, *rest)
            if reading.as_text() == text:
                return reading
        except (TypeError, RecursionError) as error:
            raise ValueError(str(error)) from error
        raise ValueError('not the text of a reading')


Reading = tuple[str, LabelReading, int]  # path of the first file, its reading, number of files


def problems(facts: Facts, others: Facts, classes: Sequence[str]) -> list[tuple[Path, str]]:
    """Return what is wrong with the label files of a split as a whole.

    Args:
        facts: The readings of all files.
        others: Those of other splits, to compare with; their own problems are left out.
        classes: Names of the classes.

    Returns:
        For each problem a file and a line that begins with it, in the order of the files.
    """
    readings, known = _by_path(facts), _by_path(others)
    found, agreement = _wrongly_ignored(readings, known, classes), _Agreement()
    for path, reading, _ in known:
        agreement.contradiction(path, reading)
    for path, reading, count in readings:
        contradiction = agreement.contradiction(path, reading)
        if contradiction is not None:
            alike = f' ({count} files are like this one)' if count > 1 else ''
            found.append((Path(path), f'{path}: {contradiction}{alike}'))
    return found


def _by_path(facts: Facts) -> list[Reading]:
    return sorted((path, LabelReading.of_text(text), n) for text, (n, path) in facts.items())


def _wrongly_ignored(
    readings: list[Reading], known: list[Reading], classes: Sequence[str]
) -> list[tuple[Path, str]]:
    """Return a problem if 255 is probably a class: in masks of 0 and 255, in all files or in some.

    It is none if a file of any split has 255 beside other classes than the first.
    """
    together = readings + known
    supposed = [path for path, reading, _ in together if reading.supposed]
    if not supposed or any(reading.supposed and reading.more for _, reading, _ in together):
        return []
    remedy = f'255 means ignored by default; {mask_advice.for_two_values(classes)}'
    shown = [reading for _, reading, _ in readings if reading.first or reading.more]
    own = any(reading.supposed for _, reading, _ in readings)
    if own and shown and not any(reading.more for reading in shown):
        count = sum(n for _, _, n in readings)
        who = f'the {count} label files have' if count > 1 else 'the only label file has'
        problem = f'{who} no other values than 0 and 255, and {remedy}'
        return [(Path(supposed[0]), f'{supposed[0]}: {problem}')]
    with_255, with_more = _numbers_of_forms(together)
    is_mixed, told = min(with_255, with_more) >= _SOME, min(_numbers_of_forms(known)) >= _SOME
    if len(classes) != 2 or not is_mixed or told:
        return []
    problem = (
        f'{with_255} label files have the values 0 and 255, {with_more} others 0 and 1, none has '
        f'all three; {remedy}. If 1 and 255 both are {classes[1]}, change one of them in the files'
    )
    return [(Path(supposed[0]), f'{supposed[0]}: {problem}')]


def _numbers_of_forms(readings: list[Reading]) -> tuple[int, int]:
    """Return the numbers of files with the first class and 255, and with it and another class."""
    return (
        sum(n for _, reading, n in readings if reading.supposed and reading.first),
        sum(n for _, reading, n in readings if reading.more and reading.first),
    )


@dataclass
class _Agreement:
    """The readings so far."""

    forms: dict[str, str] = field(default_factory=dict)  # the first file of each form
    colours: dict[int, tuple[Colour, str]] = field(default_factory=dict)
    indices: dict[Colour, tuple[int, str]] = field(default_factory=dict)

    def contradiction(self, path: str, reading: LabelReading) -> str | None:
        """Add a reading; return how it contradicts an earlier one."""
        return self._contrary_form(path, reading.form) or self._contrary_palette(path, reading)

    def _contrary_form(self, path: str, form: str) -> str | None:
        for other in _EXCLUDED.get(form, ()):
            if other in self.forms:
                return (
                    f'its values are read as {form}, but those of {self.forms[other]} as {other}; '
                    'write label_format: indices or label_format: colours into dataset.yaml'
                )
        self.forms.setdefault(form, path)
        return None

    def _contrary_palette(self, path: str, reading: LabelReading) -> str | None:
        uses = Counter(colour for _, colour in reading.palette)
        for index, colour in reading.palette:
            known, first = self.colours.setdefault(index, (colour, path))
            if known != colour:
                return _palettes_differ(index, colour, first, f'shows it as {known}')
            if uses[colour] == 1:
                other, first = self.indices.setdefault(colour, (index, path))
                if other != index:
                    return _palettes_differ(index, colour, first, f'shows index {other} so')
        return None


def _palettes_differ(index: int, colour: Colour, other: str, there: str) -> str:
    return (
        f'its palette shows index {index} as {colour}, but that of {other} {there}; write '
        'label_format: indices into dataset.yaml if the values are the classes, or else '
        'label_format: colours and classes: {name: [red, green, blue], ...}'
    )
