"""Images far from the size of the training: scaled by a rule, or one line with a remedy."""

import pytest

from common import once
from common.errors import UserError
from datasets import image_files
from engine import config
from engine.inference import test_time, trained_size
from engine.inference.settings import ProtocolSettings
from engine.inference.test_time import Protocol, ProtocolKeys
from support import stand_ins
from support.infer_runs import STREET, refused, started
from support.tiny_config import tiny_camvid

TRAINED = (360, 480)
WARNING = 'so classes may be wrong'


def chosen(overrides=(), **given):
    loaded = config.load('configs/D3Net_T_camvid.yaml', overrides)
    return test_time.choose_protocol(ProtocolSettings(**given), ProtocolKeys.of(loaded))


def test_images_are_scaled_to_the_area_of_the_training():
    """An image of CamVid stays as it is, and any other one keeps its shape."""
    assert chosen() == Protocol(area_of=TRAINED)
    assert chosen().views(360, 480) == [(360, 480)]
    assert chosen().sees_whole(360, 480)
    assert not chosen().sees_whole(563, 751)
    for height, width in ((563, 751), (90, 120), (3000, 1000), (1, 5000), (7, 9)):
        ((seen_height, seen_width),) = chosen().views(height, width)
        assert abs(seen_height - (360 * 480 * height / width) ** 0.5) <= 4
        assert abs(seen_width - (360 * 480 * width / height) ** 0.5) <= 4
    phones = {
        view for size in ((3024, 4032), (140, 188), (563, 751)) for view in chosen().views(*size)
    }
    assert phones == {(360, 480)}  # which need one compiled network


def test_options_and_keys_select_the_rule():
    assert chosen(scales=(1.0,)) == Protocol()
    assert chosen(size=(8, 8)) == Protocol(size=(8, 8))
    assert chosen(flip=True) == Protocol(area_of=TRAINED, flip=True)
    assert chosen(trained_area=True, scales=(0.5, 1.0)).views(720, 960) == [(180, 240), (360, 480)]
    off = ['test_trained_area=false', 'test_scales=[2]']
    assert chosen(off) == Protocol(scales=(2.0,))
    assert chosen(off, trained_area=True) == Protocol(area_of=TRAINED)
    assert chosen(['size_multiple=64']).views(563, 751) == [(384, 512)]
    for overrides, given, message in (
        ((), dict(trained_area=True, size=(8, 8)), '--trained-area .* replaces --size'),
        ((), dict(trained_area=True, short_sides=(8,)), '--trained-area .* replaces --size'),
        (['test_size=[8, 8]'], {}, 'test_size, test_trained_area: '),
        (['trained_size=null'], {}, "test_trained_area: needs trained_size; set it, such as --set"),
        (['dataset=folder'], dict(trained_area=True), 'the config has no trained_size; set it'),
    ):
        with pytest.raises(UserError, match=message):
            chosen(overrides, **given)


@pytest.mark.parametrize(
    'size, protocol, far',
    [
        ((360, 480), Protocol(), None),
        ((720, 960), Protocol(), None),  # 4 times the area
        ((721, 960), Protocol(), '4 times'),
        ((180, 240), Protocol(), None),
        ((179, 240), Protocol(), '0.25 times'),
        ((3000, 4000), Protocol(), '69 times'),
        ((3000, 4000), Protocol(scales=(0.1, 1, 2)), None),  # one of the views is near
        ((3000, 4000), Protocol(size=(512, 512)), None),
        ((3000, 4000), Protocol(area_of=TRAINED), None),
        ((360, 480), Protocol(size=(32, 32)), 'in place of --size, --scales or --short-sides'),
    ],
)
def test_far_images_are_reported_once(size, protocol, far, caplog):
    once.reset()
    for _ in range(2):
        trained_size.warn_if_far(protocol, size, TRAINED)
        trained_size.warn_if_far(protocol, size, None)
    lines = [message for message in caplog.messages if WARNING in message]
    assert len(lines) == (far is not None)
    assert all(far in line for line in lines)


def test_the_remedy_works_when_typed(working_folder, caplog):
    """One line for a folder of large images; the option that it names ends it."""
    for name in 'ab':
        image_files.write_image(working_folder / f'in/{name}.png', stand_ins.image(160, 160))
    options = ['-i', 'in', *tiny_camvid(), '--set', 'trained_size=[32, 64]']
    assert started(*options) == 0
    (line,) = [message for message in caplog.messages if WARNING in message]
    assert line.startswith('an image of 160x160 pixels is seen by the network at 160x160, 12 times')
    remedy = line.split(';')[1].split()[0]
    caplog.clear()
    assert started(*options, remedy) == 0
    assert WARNING not in caplog.text


def test_a_config_of_other_images_inherits_no_trained_size(working_folder, capsys):
    base = 'configs/D3Net_S.yaml'
    for overrides, expected in (
        ([], [1024, 2048]),
        (['lr=0.1', 'data_dir=elsewhere', 'dataset=cityscapes'], [1024, 2048]),
        (['dataset=folder'], None),
        (['dataset=folder', 'trained_size=[8, 8]'], [8, 8]),
    ):
        assert config.load(base, overrides).get('trained_size') == expected
    edgeai = 'configs/EdgeAILite_fpn_aspp_mobilenetv2_tv_cityscapes.yaml'
    larger = ['resize_height=768', 'resize_width=1536', 'test_size=[768, 1536]']
    assert config.load(edgeai, larger).get('trained_size') is None
    assert 'use one of them' in refused(
        capsys, '-i', STREET, *tiny_camvid(), '--trained-area', '--size', '8x8',
        '--set', 'trained_size=[8, 8]',
    )  # fmt: skip
