"""The facts of a score, in full for JSON and as one line."""

from pathlib import Path

from engine.evaluation.provenance import Provenance
from engine.inference.test_time import Protocol


def origin(**changes):
    """Return the origin of a score, with these changes."""
    facts = dict(
        weights=Path('runs/a/best.h5'),
        sha256='0123456789abcdef' * 4,
        dataset='camvid',
        data_dir=Path('data/camvid'),
        split='test',
        protocol=Protocol(),
        backend='openvino',
        precision='int8',
    )
    return Provenance(**{**facts, **changes})


def test_the_line_names_all_that_a_score_depends_on():
    assert origin().line(233) == (
        'runs/a/best.h5 (sha256 0123456789ab), camvid test, 233 images, whole images, openvino int8'
    )
    views = Protocol(scales=(0.5, 1.0), flip=True, window=(360, 480), stride=(100, 200))
    assert origin(
        protocol=views, list_file='few.txt', weights='weights in memory', sha256=None
    ).line(1) == (
        'weights in memory, camvid test listed in few.txt, 1 image, scales 0.5,1, flip, window '
        '360x480, stride 100x200, openvino int8'
    )


def test_the_facts_are_complete():
    facts = origin(list_file='few.txt').facts()
    assert facts['list'] == str(Path.cwd() / 'few.txt')
    assert facts['weights'] == str(Path.cwd() / 'runs/a/best.h5')
    assert facts['data_dir'] == str(Path.cwd() / 'data/camvid')
    assert facts['sha256'] == '0123456789abcdef' * 4
    assert facts['protocol']['scales'] == (1.0,)
    assert facts['protocol']['max_size'] == 1000
