"""Each config key of a training has an effect on the trainer."""

import json

import numpy as np
import pytest

from support.small_trainers import trained

KEYS = [  # (keys that the key depends on, the key)
    ({}, {'lr': 0.2}),
    ({}, {'max_iter': 9}),
    ({}, {'min_lr': 0.05}),
    ({}, {'power': 0.5}),
    ({}, {'schedule': 'cosine'}),
    ({}, {'schedule': 'one_cycle'}),
    ({}, {'schedule': 'constant'}),
    ({'schedule': 'step', 'milestones': [2]}, {'milestones': [1]}),
    ({'schedule': 'step', 'milestones': [1]}, {'gamma': 0.5}),
    ({}, {'warmup_iter': 3}),
    ({'warmup_iter': 3}, {'warmup_factor': 0.5}),
    ({}, {'reference_batch': 4}),
    ({}, {'accumulation': 2}),
    ({}, {'solver': 'nesterov'}),
    ({}, {'solver': 'adam'}),
    ({'solver': 'adam'}, {'solver': 'adamw'}),
    ({}, {'momentum': 0.5}),
    ({'solver': 'adam'}, {'beta1': 0.5}),
    ({'solver': 'adam'}, {'beta2': 0.5}),
    ({'solver': 'adam'}, {'epsilon': 0.01}),
    ({}, {'weight_decay': 0.1}),
    ({}, {'clip_norm': 0.01}),
    ({}, {'lr_factors': ['conv1/*=0.1']}),
    ({}, {'no_decay': ['*/W']}),
    ({}, {'freeze': ['conv1/*']}),
    ({}, {'loss_mean': 'all'}),
    ({}, {'loss_at': 'logits'}),
    ({}, {'class_weights': [1, 2, 3, 4, 5]}),
    ({}, {'label_smoothing': 0.1}),
    ({}, {'loss': 'ohem', 'ohem_threshold': 0.3, 'ohem_min_kept': 1}),
    ({'loss': 'ohem', 'ohem_min_kept': 1}, {'ohem_threshold': 0.1}),
    ({'loss': 'ohem', 'ohem_threshold': 0.01}, {'ohem_min_kept': 10}),
    ({}, {'aux_weights': [0.9]}),
    ({}, {'dice_weight': 1}),
    ({}, {'lovasz_weight': 1}),
]


@pytest.fixture(scope='module')
def reproducible():
    """A function that trains a config twice, which must agree, and remembers the result."""
    known = {}

    def result(config):
        name = json.dumps(config)
        if name not in known:
            known[name], again = trained(config), trained(config)
            assert all(np.array_equal(known[name][n], array) for n, array in again.items())
        return known[name]

    return result


@pytest.mark.parametrize(
    ('needed', 'key'), KEYS, ids=[f'{next(iter(k))}={next(iter(k.values()))}' for _, k in KEYS]
)
def test_a_key_changes_the_result(needed, key, reproducible):
    """The effect itself is tested with losses, solvers, schedules and hyperparameters."""
    without, with_key = reproducible(needed), trained({**needed, **key})
    assert not all(np.array_equal(without[name], with_key[name]) for name in without)
