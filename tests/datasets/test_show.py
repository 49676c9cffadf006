"""Contact sheets: pictures, colours and the command."""

import cv2
import numpy as np
import pytest
from PIL import Image

import datasets
from common import command
from datasets import show
from datasets.readers import layout
from datasets.scene_pictures import cells_of
from support import programs, scene_data, stand_ins


@pytest.fixture
def root(tmp_path):
    """A CamVid with five train frames of one class each, from dark to bright."""
    for index in range(5):
        for folder, array in (
            ('train', np.full((60, 80, 3), 40 * index, np.uint8)),
            ('trainannot', np.full((60, 80), 2 * index, np.uint8)),
        ):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(array).save(tmp_path / folder / f'{index}.png')
    (tmp_path / 'testannot').mkdir()
    (tmp_path / 'test').mkdir()
    return tmp_path


def cell(sheet, row, column, rows):
    """Return the middle pixel of a picture as red, green, blue."""
    top = row * (len(sheet) // rows) + show.GAP + 180
    return sheet[top, show.GAP + column * (show.MAX_PICTURE_WIDTH + show.GAP) + 240, ::-1].tolist()


def test_rows_show_image_labels_and_overlay_of_evenly_spread_samples(root):
    dataset = datasets.open('camvid', root, 'train')
    sheet = show.contact_sheet(dataset, 3)
    assert sheet.shape == (3 * (360 + show.GAP + show.CAPTION_HEIGHT), 3 * 488 + 8, 3)
    for row, index in enumerate((0, 2, 4)):
        colour = dataset.info.palette[2 * index]
        assert cell(sheet, row, 0, 3) == [40 * index] * 3
        assert cell(sheet, row, 1, 3) == list(colour)
        assert cell(sheet, row, 2, 3) == [(40 * index + value) // 2 for value in colour]
    assert len(show.contact_sheet(dataset, 9)) == 5 * len(sheet) // 3


def test_ignored_pixels_are_black_and_large_images_shrink(root):
    Image.fromarray(stand_ins.image(900, 700)).save(root / 'train/5.png')
    Image.fromarray(np.full((900, 700), 11, np.uint8)).save(root / 'trainannot/5.png')
    dataset = datasets.open('camvid', root, 'train')
    sheet = show._row(dataset, 5)
    assert sheet.shape[0] == show.MAX_PICTURE_HEIGHT + show.GAP + show.CAPTION_HEIGHT
    assert cell(sheet, 0, 1, 1) == [0, 0, 0]
    assert cell(sheet, 0, 2, 1) == cell(sheet, 0, 0, 1)


def test_a_row_without_labels_has_only_the_image(root):
    Image.fromarray(stand_ins.image(60, 80)).save(root / 'test/a.png')
    (root / 'test.lst').write_text('test/a.png')
    dataset = datasets.open('camvid', root, 'test', root / 'test.lst')
    sheet = show.contact_sheet(dataset, 8)
    assert cell(sheet, 0, 1, 1) == [255, 255, 255]


def test_a_test_split_shows_the_targets_that_it_has(tmp_path):
    scene_data.write_folder(tmp_path, ['train/a', 'test/b', 'test/c', 'test/d'])
    for file in ('depth/test/b.png', 'labels/test/c.png', 'motion/test/c_m.png'):
        (tmp_path / file).unlink()
    for folder, ending in (('depth', ''), ('labels', ''), ('motion', '_m')):
        (tmp_path / f'{folder}/test/d{ending}.png').unlink()
    dataset = datasets.open('folder', tmp_path, 'test', wanted=scene_data.ALL)
    cells = [cells_of(dataset, index, (64, 64), 0.5) for index in range(3)]
    assert [[cell.task for cell in row] for row in cells] == [
        [None, None, 'segmentation', 'motion'],
        [None, None, 'depth'],
        [None, None],
    ]
    assert show.contact_sheet(dataset, 3).shape[1] == 5 * 488 + 8


def test_the_command_writes_a_sheet_or_reports_a_mistake(root, tmp_path, capsys):
    run = ('-m', 'datasets.show', 'camvid', '-d', root)
    assert programs.run(*run, '-n', 2, '-o', tmp_path / 'sheet.png').returncode == 0
    expected = show.contact_sheet(datasets.open('camvid', root, 'train'), 2)
    assert np.array_equal(cv2.imread(str(tmp_path / 'sheet.png')), expected)
    for options, problem in (
        (('--split', 'val', '-o', 'a.png'), 'nothing found for the split val'),
        (('-o', 'a.xyz'), 'OpenCV writes no .xyz'),
        (('-n', '0', '-o', 'a.png'), '-n 0: must be at least 1'),
        (('--input-folder', 'x', '-o', 'a.png'), '--input-folder x: needs --inputs 2'),
        (('--input-kind', 'flow', '-o', 'a.png'), '--input-kind flow: needs --inputs 2'),
        ((), 'the following arguments are required: -o/--output'),
    ):
        words = ['camvid', '-d', str(root), *options]
        assert command.run_command(show.build_parser, show.main, words) == 2
        assert problem in capsys.readouterr().err


def test_the_default_folder_may_be_in_the_project(root, tmp_path, monkeypatch):
    monkeypatch.setattr(layout, 'PROJECT', tmp_path / 'project')
    (tmp_path / 'project/data').mkdir(parents=True)
    (tmp_path / 'project/data/camvid').symlink_to(root)
    monkeypatch.chdir(tmp_path / 'project/data')
    args = show.build_parser().parse_args(['camvid', '-n', '1', '-o', str(tmp_path / 'a.png')])
    assert show.main(args) == 0
