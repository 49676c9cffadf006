"""Derived values of the effective config: the input statistics of weights, kept by the state."""

import datasets
from engine import config as configs
from engine import training
from engine.runs import checkpoints
from engine.training import effective_config
from models import weights
from support import train_runs

data = train_runs.data


def test_input_statistics_come_from_the_weights_and_then_from_the_state(data, tmp_path):
    """The run can be resumed after the weights have been deleted."""
    start = tmp_path / 'start'
    start.mkdir()
    bgr = dict(mean=[102.5, 115.25, 122.75], std=[1.0, 1.0, 2.0], channel_order='bgr')
    assert training.train(train_runs.settings_of(data, start, bgr)) == 0
    weights_of = start / 'run' / 'final.h5'
    changes = dict(pretrained=str(weights_of))
    assert training.train(train_runs.settings_of(data, tmp_path, **changes)) == 0
    state = checkpoints.load(tmp_path / 'run' / 'state.h5')
    assert {key: state.config[key] for key in bgr} == bgr
    assert state.config['momentum_form'] == 'nnabla'
    weights_of.unlink()
    changes |= dict(resume='', allow_changes=True)
    assert training.train(train_runs.settings_of(data, tmp_path, {'max_iter': 4}, **changes)) == 0
    assert weights.input_statistics(tmp_path / 'run' / 'final.h5') == {
        key: tuple(value) if isinstance(value, list) else value for key, value in bgr.items()
    }


def test_a_run_keeps_the_trained_size_of_its_images_only(data, tmp_path):
    """Weights that were trained on images of another size are no reason to scale these."""
    images = datasets.open('folder', data, 'train')
    own, other = list(images.size(0)), [images.size(0)[0] + 1, 9]
    resized = dict(augmentation='resize_crop', resize_height=30, resize_width=50)
    for size, changes, kept in ((own, {}, True), (other, {}, False), (other, resized, True)):
        path = train_runs.write_config(
            tmp_path, trained_size=size, test_trained_area=True, data_dir=str(data), **changes
        )
        config = effective_config.complete(configs.load(path), None, None, images)
        assert (config.get('trained_size'), config.get('test_trained_area', False)) == (
            (size, True) if kept else (None, False)
        )
