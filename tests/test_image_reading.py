"""How images are read reaches every command: bit_depth, exif_orientation, max_pixels."""

import json
import shutil

import cv2
import nnabla as nn
import numpy as np
import pytest
from PIL import Image

import train
from common import command
from common.errors import InputError, UserError
from datasets import image_files, prepare, show
from datasets.keys import ImageReading
from datasets.loading import pack
from engine import config as configs
from engine.backends import calibration
from support import evaluate_runs, infer_runs, mpi_training, stand_ins, train_runs
from support.tiny_config import tiny_camvid

DEPTH = 12


def in_process(module, *arguments):
    """Run the command of a module in this process; return its status."""
    nn.clear_parameters()
    return command.run_command(module.build_parser, module.main, [str(a) for a in arguments])


@pytest.fixture
def deep(tmp_path):
    """A data set for the reader folder, whose images have 12 bits in 16, and its 8-bit twin."""
    eight, deep = tmp_path / 'eight', tmp_path / 'deep'
    mpi_training.write_data(eight, 4, 2)
    shutil.copytree(eight, deep)
    for path in deep.glob('images/*/*.png'):
        image = cv2.imread(str(path)).astype(np.uint16)
        cv2.imwrite(str(path), image << DEPTH - 8)
    return deep


def weights_of(run):
    """Return the trained weights of a run as bytes."""
    nn.clear_parameters()
    nn.load_parameters(str(run / 'final.h5'))
    return {name: p.d.tobytes() for name, p in nn.get_parameters(grad_only=False).items()}


@pytest.mark.parametrize('workers', [0, 2])
def test_declared_12_bits_train_as_8_bits_do(deep, tmp_path, workers, caplog):
    """In worker processes too; without the key, one warning names a file and the remedy."""

    def trained(data, name, *options):
        caplog.clear()
        run = train_runs.Training(data, tmp_path, '--workers', workers, max_iter=2)
        path = run.whole(name, *options)
        return weights_of(path), [m for m in caplog.messages if 'bit_depth' in m]

    plain, warned = trained(deep.parent / 'eight', 'plain')
    assert warned == []
    declared, warned = trained(deep, 'declared', '--set', f'bit_depth={DEPTH}')
    assert warned == []
    assert declared == plain
    dark, warned = trained(deep, 'dark', '--no-validation')
    assert dark != plain
    (line,) = warned
    assert f'bit_depth: {DEPTH} (--set bit_depth={DEPTH}' in line
    assert str(deep) in line


def test_infer_reads_declared_12_bits_as_8_bits(working_folder, caplog, capsys):
    image = stand_ins.image(32, 48)
    cv2.imwrite('eight.png', image)
    cv2.imwrite('deep.png', image.astype(np.uint16) << DEPTH - 8)
    options = [*tiny_camvid(), '-c', 'cpu', '--backend', 'nnabla']
    key = ['--set', f'bit_depth={DEPTH}']
    assert infer_runs.started('-i', 'eight.png', *options, '-o', 'a.png') == 0
    assert infer_runs.started('-i', 'deep.png', *options, *key, '-o', 'b.png') == 0
    assert caplog.text.count('nearly black') == 0
    assert infer_runs.started('-i', 'deep.png', *options, '-o', 'c.png') == 0
    assert caplog.text.count('deep.png: its 16-bit values end at') == 1
    first, second, dark = (image_files.read_image(working_folder / f'{x}.png') for x in 'abc')
    assert np.array_equal(first, second)
    assert not np.array_equal(first, dark)
    key = ['--set', 'bit_depth=10']
    assert 'deep.png: holds the value' in infer_runs.refused(
        capsys, '-i', 'deep.png', *options, *key
    )


def test_prepare_and_show_know_the_options(deep, tmp_path, capsys, caplog):
    facts, option = tmp_path / 'facts.json', ('--bit-depth', DEPTH)
    common = ['folder', '-d', deep, '--processes', 1]
    means = []
    for data, more in ((deep, option), (deep.parent / 'eight', ())):
        caplog.clear()
        arguments = ['folder', '-d', data, '--check', '--stats', '--split', 'train', *more]
        assert in_process(prepare, *arguments, '--json', facts, '--processes', 1) == 0
        assert 'bit_depth' not in caplog.text
        means.append(json.loads(facts.read_text())['stats']['train']['mean'])
    assert means[0] == means[1]
    assert in_process(prepare, *common, '--check') == 0
    assert caplog.text.count('--bit-depth 12 in python -m datasets') == 1
    packed = tmp_path / 'packed'
    assert in_process(prepare, *common, '--split', 'val', '--pack', packed, *option) == 0
    one, plain = pack.open(packed / 'val'), deep.parent / 'eight/images/val/0.png'
    assert np.array_equal(one.image(0), image_files.read_image(plain))
    assert one.reading == ImageReading(bit_depth=DEPTH)
    assert in_process(prepare, 'folder', '-d', packed, '--check', '--bit-depth', 10) == 2
    assert 'packed with bit_depth 12, not 10' in capsys.readouterr().err
    for data, more in (('deep', option), ('eight', ())):
        arguments = ['folder', '-d', tmp_path / data, '-o', tmp_path / f'{data}.png', *more]
        assert in_process(show, *arguments) == 0
    sheets = [image_files.read_image(tmp_path / f'{name}.png') for name in ('deep', 'eight')]
    assert np.array_equal(*sheets)
    assert in_process(prepare, *common, '--check', '--bit-depth', 7) == 2
    assert '--bit-depth: invalid choice: 7' in capsys.readouterr().err


def test_the_limit_of_pixels_reaches_every_command(deep, tmp_path, capsys):
    """For images and labels, which have 32x48 pixels."""
    data, pixels, option = deep.parent / 'eight', 32 * 48, '--max-pixels'
    check = ['folder', '-d', data, '--check', '--processes', 1, option]
    assert in_process(prepare, *check, pixels) == 0
    capsys.readouterr()
    assert in_process(prepare, *check, pixels - 1) == 1
    problems = capsys.readouterr().out
    for folder in ('images', 'labels'):
        line = f'{folder}/val/1.png: 48x32 pixels, but at most {pixels - 1} are read; cut it'
        assert problems.count(line) == 1
    assert in_process(prepare, *check, 0) == 2
    assert 'max_pixels: must be at least 1' in capsys.readouterr().err
    sheet = ['folder', '-d', data, '-o', tmp_path / 'sheet.png', option]
    assert in_process(show, *sheet, pixels) == 0
    assert in_process(show, *sheet, pixels - 1) == 2
    assert f'--max-pixels {pixels} in python -m datasets' in capsys.readouterr().err
    packed = tmp_path / 'packed'
    assert in_process(prepare, *check, pixels, '--split', 'val', '--pack', packed) == 0
    assert in_process(prepare, 'folder', '-d', packed, '--check', option, 9 * pixels) == 0
    options = [*tiny_camvid(), '-c', 'cpu', '--backend', 'nnabla', '-o', tmp_path / 'a.png']
    image = data / 'images/val/0.png'
    assert infer_runs.started('-i', image, *options, '--set', f'max_pixels={pixels}') == 0
    capsys.readouterr()
    refused = infer_runs.refused(capsys, '-i', image, *options, '--set', f'max_pixels={pixels - 1}')
    assert f'0.png: 48x32 pixels, but at most {pixels - 1} are read' in refused


def test_calibration_reads_as_the_config_says(deep, tmp_path):
    config = train_runs.write_config(tmp_path)
    found = [
        calibration.find_images(
            stand_ins.tiny(), configs.load(config, keys), str(tmp_path / name / 'images/train/*')
        )
        for name, keys in (('eight', ()), ('deep', [f'bit_depth={DEPTH}']), ('deep', ()))
    ]
    shape = (1, 3, 24, 40)
    eight, deep_images, dark = (each.inputs(shape)[0] for each in found)
    assert np.array_equal(eight, deep_images)
    assert not np.array_equal(eight, dark)
    assert len({each.digest for each in found}) == 3
    bad = found[0].paths[0]
    bad.write_bytes(b'no image')
    with pytest.raises(UserError, match='0.png: not an image.*; int8 is calibrated on it') as error:
        found[0].inputs(shape)[0]
    assert not isinstance(error.value, InputError)  # no other image is to blame


@pytest.fixture
def upside_down(shared, tmp_path):
    """Frames of CamVid, whose EXIF data say that they are upside down; their labels are not."""
    root = evaluate_runs.cut_camvid(shared / 'data' / 'camvid', tmp_path / 'camvid')
    exif = Image.Exif()
    exif[0x0112] = 3
    for path in (root / 'test').iterdir():
        Image.open(path).save(path, exif=exif)
    return root


def test_evaluate_warns_of_turned_images_and_knows_the_key(upside_down, tmp_path, caplog):
    def miou(*options):
        caplog.clear()
        report = tmp_path / 'report.json'
        arguments = ['-d', upside_down, '--split', 'test', '--json', report, *options]
        assert evaluate_runs.started(*evaluate_runs.CUT_CAMVID, *arguments) == 0
        warned = [line for line in caplog.messages if 'EXIF' in line]
        document = json.loads(report.read_text())
        return document['miou'], document['settings']['exif_orientation'], warned

    turned, setting, (line,) = miou()
    assert setting is None
    first = min((upside_down / 'test').iterdir())
    assert line.startswith('4 of 4 images have an EXIF orientation other than 1')
    assert f'{first} (3: stored upside down)' in line
    assert miou('--set', 'exif_orientation=apply') == (turned, 'apply', [])
    stored, setting, warned = miou('--set', 'exif_orientation=ignore')
    assert (setting, warned) == ('ignore', [])
    assert stored > turned + 20


def test_train_and_check_warn_of_turned_images_once(deep, tmp_path, caplog, capsys):
    data = deep.parent / 'eight'
    exif = Image.Exif()
    exif[0x0112] = 3
    for path in data.glob('images/*/*.png'):
        Image.open(path).save(path, exif=exif)
    run = train_runs.Training(data, tmp_path, '--workers', 0, max_iter=1)
    run.whole('run')
    (line,) = [message for message in caplog.messages if 'EXIF' in message]
    assert line.startswith('6 of 6 images have')
    caplog.clear()
    assert in_process(prepare, 'folder', '-d', data, '--check', '--stats', '--processes', 1) == 0
    (line,) = [message for message in caplog.messages if 'EXIF' in message]
    assert line.startswith('6 of 6 images have')
    assert '--exif-orientation ignore' in line
    exif[0x0112] = 6
    path = data / 'images/train/0.png'
    Image.open(path).save(path, exif=exif)
    assert in_process(train, *run.arguments('other')) == 2
    assert 'its EXIF orientation 6 turns the image' in capsys.readouterr().err
