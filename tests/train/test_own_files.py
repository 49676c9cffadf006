"""What a run's own files are worth after the training: its config, weights and names of classes."""

import hashlib
import json
import logging
import shutil

import h5py
import nnabla as nn
import onnx
import pytest
import yaml

import evaluate
import infer
import train
from common.command import run_command
from engine.export import __main__ as export
from engine.report import __main__ as report
from engine.runs import checkpoints
from engine.runs.run_folder import HEAD_LINE
from models import weights
from models.class_table import ClassTable
from support import programs
from support.train_runs import Training, same_weights, signalled

NAMES = ('road', 'größe', 'car', '名前', 'e')
COLOURS = ((1, 2, 3), (4, 5, 6), (7, 8, 9), (10, 11, 12), (13, 14, 15))
STREET = programs.PROJECT / 'resources' / 'street.jpg'


def describe(root, names=NAMES):
    """Write names and colours of the classes into the data set."""
    entries = ', '.join(f'{n}: {list(COLOURS[NAMES.index(n)])}' for n in names)
    text = f'classes: {{{entries}}}\nlabel_format: indices\n'
    (root / 'dataset.yaml').write_text(text, encoding='utf-8')


@pytest.fixture
def own(data, tmp_path):
    """A training on its own copy of the data, whose config has weights of another training."""
    shutil.copytree(data, tmp_path / 'data')
    describe(tmp_path / 'data')
    (tmp_path / 'published.h5').write_bytes(b'weights of another training')
    return Training(tmp_path / 'data', tmp_path, '--workers', 0, max_iter=2, weights='published.h5')


def started(command, *arguments):
    """Run a command in this process, and return its exit status."""
    nn.clear_parameters()
    return run_command(command.build_parser, command.main, [str(a) for a in arguments])


def errors(capsys):
    """Return the lines of errors on standard error."""
    lines = capsys.readouterr().err.splitlines()
    return [line for line in lines if line.startswith('error: ')]


def test_a_run_is_scored_with_its_own_weights_and_the_score_says_so(own, capsys, caplog):
    caplog.set_level(logging.INFO, 'nnseg')
    run = own.whole('run', '--set', 'test_flip=true')
    written = yaml.safe_load((run / 'config.yaml').read_text(encoding='utf-8'))
    assert 'weights' not in written
    assert (tuple(written['classes']), written['channel_order']) == (NAMES, 'rgb')
    entry = json.loads((run / 'validation.json').read_text())[-1]
    validated = entry['origin']
    assert validated == 'weights of iteration 2, folder val, 5 images, flip, nnabla float32'
    assert any('validation mIoU' in m and m.endswith(f'| {validated}') for m in caplog.messages)
    with open(run / 'config.yaml', 'a') as file:  # as older versions wrote it
        file.write(f'weights: {own.folder / "published.h5"}\n')
    scores = own.folder / 'scores.json'
    options = ['-c', 'cpu', '--backend', 'nnabla', '--json', scores]
    for spelling in (run, run / 'config.yaml'):
        capsys.readouterr()
        assert started(evaluate, '-cfg', spelling, *options) == 0
        report = json.loads(scores.read_text())
        settings, digest = report['settings'], sha256(run / 'best.h5')
        assert capsys.readouterr().out.splitlines()[-2:] == [
            f'{run / "best.h5"} (sha256 {digest[:12]}), folder val, 5 images, flip, nnabla float32',
            f'{scores} written (scores)',
        ]
        assert (settings['weights'], settings['sha256']) == (str(run / 'best.h5'), digest)
        assert (settings['data_dir'], settings['split']) == (str(own.data), 'val')
        assert (settings['config'], settings['protocol']['flip']) == ('run', True)
        assert report['miou'] == entry['miou']
    assert started(evaluate, '-cfg', run, *options, '-m', run / 'final.h5') == 0
    assert json.loads(scores.read_text())['settings']['weights'] == str(run / 'final.h5')
    for path in run.glob('*.h5'):
        path.unlink()
    capsys.readouterr()
    for command, more in (
        (evaluate, []),
        (infer, ['-i', STREET]),
        (export, ['-o', own.folder / 'x.onnx', '--size', '64x64']),
    ):
        assert started(command, '-cfg', run, *more) == 2
        (line,) = errors(capsys)
        assert f'{run}: this run has saved no weights yet' in line
        assert '-m' in line


def test_names_and_colours_outlive_the_data_set(own, capsys, caplog, monkeypatch):
    monkeypatch.chdir(own.folder)
    run = own.whole('run')
    for path in (*run.glob('model_param_*'), run / 'best.h5', run / 'final.h5'):
        assert weights.class_table(path) == ClassTable(NAMES, COLOURS)
    shutil.rmtree(own.data)
    own.data.mkdir()  # an empty folder is no data set either
    few = ['-c', 'cpu', '--set', 'test_scales=[0.05]', '--backend', 'nnabla']
    plain = own.folder / 'plain.h5'
    shutil.copy(run / 'best.h5', plain)
    with h5py.File(plain, 'r+') as file:
        for name in list(file.attrs):
            del file.attrs[name]
    generated = 'they are called class 0, class 1, ...; set data_dir'
    for config, model, named in (
        (run, run / 'best.h5', True),
        (own.config, run / 'best.h5', True),
        (run, plain, True),
        (own.config, plain, False),
    ):
        caplog.clear()
        capsys.readouterr()
        assert started(infer, '-i', STREET, '-cfg', config, '-m', model, *few) == 0
        shown = {line.split(None, 1)[1] for line in capsys.readouterr().out.splitlines()[1:]}
        assert shown <= set(NAMES if named else [f'class {i}' for i in range(5)])
        assert sum(generated in message for message in caplog.messages) == (not named)
    for config in (run, own.config):
        target = own.folder / 'x.onnx'
        options = ['-cfg', config, '-m', run / 'best.h5', '-o', target, '--size', '64x64']
        assert started(export, *options) == 0
        facts = {p.key: p.value for p in onnx.load(target).metadata_props}
        assert tuple(json.loads(facts['classes'])) == NAMES
        assert tuple(map(tuple, json.loads(facts['palette']))) == COLOURS
        assert facts['weights_sha256'] == sha256(run / 'best.h5')


def test_data_with_the_classes_in_another_order_are_refused(own, capsys, caplog):
    run = own.whole('run')
    options = ['-c', 'cpu', '--backend', 'nnabla', '-d', own.data]
    describe(own.data, ('größe', 'road', 'car', '名前', 'e'))
    for config in (run, own.config):
        capsys.readouterr()
        assert started(evaluate, '-cfg', config, '-m', run / 'best.h5', *options) == 2
        (line,) = errors(capsys)
        assert f"class 0 is 'road' in the weights {run / 'best.h5'} and 'größe' in the " in line
    assert "'road' in the config" in own.refused(capsys, 'run', '--resume', '-cfg', run)
    line = own.refused(capsys, 'run', '--resume')
    assert 'classes: größe, road, car, 名前, e were in the order road, größe, car' in line
    text = (own.data / 'dataset.yaml').read_text(encoding='utf-8')
    text = text.replace('größe: [4, 5, 6], road', 'Road: [4, 5, 6], größe')
    (own.data / 'dataset.yaml').write_text(text, encoding='utf-8')
    caplog.clear()
    assert started(evaluate, '-cfg', run, *options) == 0
    (warning,) = [m for m in caplog.messages if 'only the index of a class counts' in m]
    assert "class 0 is 'road' in the weights" in warning
    assert "and 'Road' in the data set" in warning


def test_a_run_resumes_with_its_own_config(own, capsys):
    """The config was changed by --set; without -cfg, the run's own one is taken."""
    whole = own.whole('whole', '--set', 'lr=0.02', '--set', 'max_iter=4')
    with signalled(2):
        assert own('run', '--set', 'lr=0.02', '--set', 'max_iter=4') == 143
    capsys.readouterr()
    line = own.refused(capsys, 'run', '--resume')
    advice = f"-o {own.folder / 'run'} --resume without -cfg takes the run's own config"
    assert line.index(advice) < line.index('--allow-changes')
    run, few = own.folder / 'run', ['--resume', '-c', 'cpu', '--workers', 0]
    own.refused(capsys, 'refused', '--resume', run)
    assert not (own.folder / 'refused').exists()
    assert started(train, '-o', run, *few) == 0
    assert same_weights(run / 'final.h5', whole / 'final.h5')
    assert started(train, '-cfg', run, *few) == 0  # the folder of a run's config is its output
    assert started(train, '--resume', run, '-o', own.folder / 'other', *few[1:]) == 0
    other = own.folder / 'other'
    assert same_weights(other / 'final.h5', whole / 'final.h5')
    capsys.readouterr()
    assert started(report, other) == 0
    page = capsys.readouterr().out
    assert page.startswith('# other\n')
    assert '| tiny' in page
    (run / 'config.yaml').unlink()
    capsys.readouterr()
    assert started(train, '-o', run, *few) == 2
    assert 'config.yaml: missing, so name the config of the resumed run' in errors(capsys)[0]


def test_a_run_of_an_older_version_resumes(own):
    """Its state and its config have fewer keys, and weights of another training."""
    with signalled(2):
        assert own('run') == 143
    run = own.folder / 'run'
    state = checkpoints.load(run / 'state.h5')
    for key in ('mean', 'std', 'channel_order', 'classes', 'palette', 'momentum_form'):
        del state.config[key]
    state.extras.pop('seconds')
    state.config['weights'] = str(own.folder / 'published.h5')
    checkpoints.save(run / 'state.h5', state)
    text = yaml.safe_dump(state.config, allow_unicode=True)
    (run / 'config.yaml').write_text(f'{HEAD_LINE} 0.1.0\n{text}', encoding='utf-8')
    assert started(train, '-o', run, '--resume', '-c', 'cpu', '--workers', 0) == 0
    assert weights.class_table(run / 'final.h5') == ClassTable(NAMES, COLOURS)
    written = yaml.safe_load((run / 'config.yaml').read_text(encoding='utf-8'))
    assert 'weights' not in written
    assert tuple(written['classes']) == NAMES


def test_a_run_killed_before_its_first_state_starts_with_its_own_config(own, caplog):
    run = own.whole('run', '--set', 'lr=0.02')
    for path in run.glob('*.h5'):
        path.unlink()
    assert started(train, '-o', run, '--resume', '-c', 'cpu', '--workers', 0) == 0
    assert 'no state to resume from, starting a new run' in caplog.text
    assert checkpoints.load_facts(run / 'state.h5')['config']['lr'] == 0.02


def test_wrong_initial_weights_leave_no_folder(own, capsys):
    nn.parameter.get_parameter_or_create('other/W', (2, 3))
    weights.save(own.folder / 'other.h5')
    line = own.refused(capsys, 'run', '-p', own.folder / 'other.h5')
    assert 'other.h5 does not fit the network' in line
    assert not (own.folder / 'run').exists()


def sha256(path):
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
