"""The picture of a confusion matrix: shares of the rows, counts where they fit, absent classes."""

import cv2
import numpy as np
import pytest

from common.errors import UserError
from engine.evaluation import confusion_picture


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_rows_are_shares_and_cells_have_counts(tmp_path):
    matrix = np.array([[900, 100, 0, 0], [0, 0, 0, 0], [0, 1, 1_999_999, 0], [0, 0, 0, 0]])
    figure = confusion_picture.figure_of('a $\\frac$', ('a', '$b$', 'c\x1b', 'd'), matrix)
    (axes, _), shown = figure.axes, figure.axes[0].images[0].get_array()
    expected = [[0.9, 0.1, 0], [np.nan] * 3, [0, 1 / 2e6, 1_999_999 / 2e6]]
    np.testing.assert_allclose(np.ma.filled(shown, np.nan), expected)
    assert texts(figure) == ['90.0\n900', '10.0\n100', '<0.1\n1', '100\n2.0M']
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ['a', '$b$', 'c\\x1b']
    note = axes.get_xlabel()
    assert note.splitlines()[2:] == [
        'in a cell: % of the true class, and pixels',
        'grey: no labelled pixel',
        'left out, as they do not occur: 1 of 4 classes',
    ]
    confusion_picture.draw(tmp_path / 'a.png', 'a $\\frac$', ('a', '$b$', 'c\x1b', 'd'), matrix)
    assert cv2.imread(str(tmp_path / 'a.png')) is not None


def test_many_classes_have_names_of_a_readable_size():
    """Each name has a row of its own that is as high as its letters."""
    count = 80
    figure = confusion_picture.figure_of('', [f'class {i}' for i in range(count)], np.eye(count))
    figure.draw_without_rendering()
    assert not texts(figure)
    labels = figure.axes[0].get_yticklabels()[:count]  # those on the right follow
    places = sorted(label.get_window_extent().y0 for label in labels)
    letters = labels[0].get_fontsize() * figure.dpi / 72
    assert np.diff(places).min() > letters
    assert labels[0].get_fontsize() >= 6


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(UserError, match='a.what: unknown picture format; use .png'):
        confusion_picture.draw(tmp_path / 'a.what', '', ('a',), np.array([[1]]))


def test_title_and_notes_fit_the_smallest_picture():
    matrix = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 0]])  # all three notes
    figure = confusion_picture.figure_of('x' * 300, 'abc', matrix)
    figure.draw_without_rendering()
    for text in (figure.axes[0].title, figure.axes[0].xaxis.label):
        place = text.get_window_extent()
        assert place.x0 >= 0
        assert place.x1 <= figure.bbox.width


def test_one_line_says_that_the_font_lacks_characters(tmp_path, caplog, recwarn):
    confusion_picture.draw(tmp_path / 'a.png', '', ('木や', 'b'), np.eye(2, dtype=int))
    (line,) = caplog.messages
    assert line.endswith('a.png: boxes stand for 2 characters that the font lacks')
    assert not recwarn.list


@pytest.mark.parametrize(
    ('count', 'text'),
    [
        (0, '0'),
        (999, '999'),
        (1000, '1.0k'),
        (9_960, '10k'),
        (999_600, '1.0M'),
        (45 * 10**9, '45G'),
    ],
)
def test_counts_have_up_to_four_characters(count, text):
    assert confusion_picture.count_text(count) == text
