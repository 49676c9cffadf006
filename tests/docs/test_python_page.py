"""docs/python.md: every block of code runs, in the order of the page, and prints what it shows."""

import contextlib
import io
import re
import shutil

import cv2
import numpy as np
import pytest

from support import programs

PAGE = programs.PROJECT / 'docs' / 'python.md'
CAMERA = 'source = 0'
BLOCK = re.compile(r'```python\n(.*?)```\n(?:```text\n(.*?)```\n)?', re.DOTALL)


def blocks():
    """Return the blocks of the page: first line, code, and the output that it shows."""
    text = PAGE.read_text()
    found = [
        (text.count('\n', 0, block.start()) + 1, block[1], block[2] or '')
        for block in BLOCK.finditer(text)
    ]
    assert len(found) == text.count('```python') > 15
    assert len([shown for *_, shown in found if shown]) == text.count('```text')
    return found


@pytest.fixture
def files(working_folder):
    """The files that the page names: the demo's photo, small photos, a video, weights."""
    resources = programs.PROJECT / 'resources'
    shutil.copy(resources / 'street.jpg', 'street.jpg')
    shutil.copy(resources / 'D3Net_T_camvid.h5', 'own.h5')
    photo = cv2.resize(cv2.imread('street.jpg'), (188, 140))
    (working_folder / 'photos').mkdir()
    for number, name in enumerate('abc'):
        cv2.imwrite(f'photos/{name}.jpg', np.roll(photo, 16 * number, axis=1))
    video = cv2.VideoWriter('drive.avi', cv2.VideoWriter_fourcc(*'MJPG'), 5, (188, 140))
    for number in range(4):
        video.write(np.roll(photo, 8 * number, axis=1))
    video.release()


@pytest.mark.long
def test_the_page_runs_and_prints_what_it_shows(files, caplog):
    names, cameras, first = {}, 0, None
    caplog.set_level('INFO', logger='nnseg')  # restored afterwards; the page sets another
    for line, code, shown in blocks():
        cameras += CAMERA in code
        code = code.replace(CAMERA, "source = 'drive.avi'")  # no test machine has a camera
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(compile('\n' * line + code, PAGE, 'exec'), names)
        assert output.getvalue() == shown, f'{PAGE}, line {line}'
        first = first or names['result']
    assert cameras == 1
    check_files(first)
    assert names['own'].protocol.describe() == {'scales': (0.5, 1.0), 'flip': True}
    assert names['own'].network.weights.name == 'own.h5'


def check_files(result):
    """Check the files that the blocks wrote, the first ones from the result of the photo."""
    height, width = result.labels.shape
    for name in ('labels.png', 'classes.png'):
        stored = cv2.imread(name, cv2.IMREAD_UNCHANGED)
        if stored.ndim == 3:  # the colours of the palette
            colours = np.array(result.palette, np.uint8)[result.labels]
            assert np.array_equal(stored[..., ::-1], colours)
        else:
            assert np.array_equal(stored, result.labels)
    picture = cv2.imread('overlay.jpg')
    assert picture.shape[0] == height and picture.shape[1] > width
    for name in ('a_labels.png', 'c_labels.png', 'frame_001.jpg', 'frame_004.jpg', 'live.jpg'):
        assert cv2.imread(name).shape == (140, 188, 3)
