"""docs/figures/rooms.svg: the picture that CONTRIBUTING.md shows."""

import importlib.util

from support import programs


def test_the_picture_shows_the_contracts():
    path = programs.PROJECT / 'tools' / 'draw_rooms.py'
    spec = importlib.util.spec_from_file_location('draw_rooms', path)
    draw_rooms = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw_rooms)
    assert draw_rooms.PICTURE.read_text() == draw_rooms.picture(), 'run tools/draw_rooms.py'
