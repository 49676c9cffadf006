"""The block ``published`` of a config file: read, shown, never inherited, without effect."""

import pytest
import yaml

from common.errors import UserError
from engine import config
from engine.config.published_score import PublishedScore
from support import programs
from support.config_files import NAMES, WITH_TASKS, load

KEYS = 'network: ddrnet23_slim\nnum_classes: 5\n'
BLOCK = 'published: {miou: 79.9, split: val, source: a paper}\n'
# mIoU as the projects published it, some of each.
SCORES = {
    'D3Net_L': (81.0, 'val', None),
    'DDRNet39_cityscapes': (80.4, 'test', None),
    'DABNet_E_camvid': (76.5, 'test', None),
    'DABNet_R18P2_cocostuff10k': (29.5, None, None),
    'CSAIL_resnet50dilated8_ppm_deepsup_ade20k': (42.14, 'val', 'all five sizes'),
    'CSAIL_baseline_resnet50dilated8_ppm_deepsup_ade20k': (42.04, 'val', 'all five sizes'),
    'EdgeAILite_fpn_aspp_regnetx3p2gf_cityscapes': (77.24, 'val', '512x1024'),
}
WITHOUT_SCORE = {  # no score was published
    'DABNet_R18P2_cocostuff164k',
    'EdgeAILite_deeplabv3plus_mobilenetv2_tv_voc',
    'EdgeAILite_fpn_aspp_mobilenetv2_tv_cocoseg21',
    *WITH_TASKS,  # scores of depth, motion and five classes
}


@pytest.fixture
def write(tmp_path):
    """Write a config file with the given text and return its path."""

    def write_config(text, name='own.yaml'):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write_config


def test_it_is_a_fact_of_the_file_and_no_key(write):
    loaded = config.load(write(KEYS + BLOCK), ['lr=0.5'])
    assert loaded.published == PublishedScore(miou=79.9, split='val', source='a paper')
    assert 'published' not in loaded
    assert loaded.without('lr').published == loaded.completed({'power': 1}, 'x').published
    assert loaded.without('lr').published.miou == 79.9


def test_no_other_config_inherits_it(write):
    write(KEYS + BLOCK, 'base.yaml')
    write('_base_: base.yaml\nlr: 0.5\n', 'middle.yaml')
    for text, expected in (
        ('_base_: base.yaml\n', None),
        ('_base_: [base.yaml, middle.yaml]\n', None),
        ('_base_: base.yaml\npublished: {miou: 1, source: mine}\n', 1.0),
    ):
        score = config.load(write(text)).published
        assert (score and score.miou) == expected


@pytest.mark.parametrize(
    'block, message',
    [
        ('79.9', 'published: must consist of "key: value" lines with miou, split, .*own.yaml'),
        ('{miou: 101, source: x}', 'published: miou: must be at least 0 and at most 100.*own.yaml'),
        ('{miou: 50}', 'published: source: must be given .*own.yaml'),
        ('{mIoU: 50, source: x}', 'published: mIoU: unknown key; the nearest is miou .*own.yaml'),
    ],
)
def test_a_wrong_block_is_named(write, block, message):
    with pytest.raises(UserError, match=message):
        config.load(write(f'{KEYS}published: {block}\n'))


def test_the_command_line_cannot_set_it(write):
    with pytest.raises(UserError, match='published: .*set it in the config file, not on the comm'):
        config.load(write(KEYS), ['published=50'])


def test_the_effective_config_shows_it_first(write):
    path = write(KEYS + BLOCK)
    first, second, *_ = config.with_origins(config.load(path)).splitlines()
    assert first == f'published: {{miou: 79.9, split: val, source: a paper}}  # {path}'
    assert second.startswith('network: ')


def test_the_configs_quote_what_was_published():
    for name, expected in SCORES.items():
        score = load(name).published
        assert (score.miou, score.split, score.views) == expected, name


def test_every_config_quotes_a_score_with_its_source_or_none_was_published():
    blocks = {
        name: yaml.safe_load((programs.PROJECT / 'configs' / f'{name}.yaml').read_text())
        for name in NAMES
    }
    assert {name for name in NAMES if 'published' not in blocks[name]} == WITHOUT_SCORE
    assert all(blocks[name]['published']['source'] for name in NAMES if name not in WITHOUT_SCORE)
