"""Inputs and tasks of a config: kinds, channels, and every wrong combination."""

import pytest

from common.sections import SectionError
from common.tasks import CLASSES, DEPTH, Task, TaskKeys, class_count, kind_of

ALL = ['depth', 'segmentation', 'motion']


@pytest.mark.parametrize(
    'name, kind',
    [
        ('depth', DEPTH),
        ('left_depth', DEPTH),
        ('segmentation', CLASSES),
        ('depth_class', CLASSES),
        ('indepth', CLASSES),
    ],
)
def test_the_name_says_the_kind(name, kind):
    assert kind_of(name) == kind


def test_a_config_without_tasks_has_one_input_and_none():
    keys = TaskKeys.of({'num_classes': 19})
    assert (keys.inputs, keys.tasks) == (1, None)
    assert TaskKeys.of_config({'num_classes': 19}) == ()


def test_tasks_with_their_channels_and_range():
    config = dict(inputs=2, tasks=ALL, task_channels=[1, 19, 2], depth_range=[0, 128])
    tasks = TaskKeys.of_config(config)
    assert tasks == (
        Task('depth', DEPTH, 1, (0.0, 128.0)),
        Task('segmentation', CLASSES, 19),
        Task('motion', CLASSES, 2),
    )
    assert class_count(tasks) == 19
    assert class_count(tasks[:1]) == 1
    assert TaskKeys.of_config({**config, 'num_classes': 19}) == tasks


def test_channels_follow_from_the_names_where_they_can():
    pair = dict(tasks=['segmentation', 'depth'])
    expected = (Task('segmentation', CLASSES, 5), Task('depth', DEPTH, 1))
    assert TaskKeys.of_config({**pair, 'num_classes': 5}, default_classes=19) == expected
    assert TaskKeys.of_config(pair, default_classes=5) == expected
    assert TaskKeys.of_config(dict(tasks=['depth'], num_classes=19))[0].channels == 1


@pytest.mark.parametrize(
    'values, message',
    [
        (dict(inputs=3), 'inputs: must be at least 1 and at most 2, not 3'),
        (dict(tasks=[]), r'tasks: must be a list of at least one value, not \[\]'),
        (dict(tasks=list('abcde')), 'tasks: must be at most 4, not 5'),
        (dict(tasks=['depth', 'depth']), 'tasks: names depth twice'),
        (dict(tasks=['depth', 'score']), 'tasks: score is what the score of all tasks is called'),
        (dict(tasks=['a/b']), "tasks: a name has lower-case .*not 'a/b'"),
        (dict(tasks=['../x']), 'tasks: a name has'),
        (dict(tasks=['a' * 33]), 'tasks: a name has .*at most 32 characters'),
        (dict(task_channels=[2]), 'task_channels: needs the key tasks'),
        (dict(depth_range=[0, 1]), 'depth_range: needs the key tasks'),
        (
            dict(tasks=ALL, task_channels=[1, 19]),
            'task_channels: 2 values for the 3 tasks depth, segmentation, motion;',
        ),
        (
            dict(tasks=['depth'], task_channels=[2]),
            'task_channels: the depth task depth has 1 channel, not 2',
        ),
        (dict(tasks=['motion'], task_channels=[256]), 'task_channels: must be at least 1 and at'),
        (dict(tasks=['motion'], num_classes=2), 'task_channels: must be given: .* motion has'),
        (dict(tasks=['segmentation']), 'task_channels: must be given: num_classes or task_'),
        (
            dict(tasks=['motion', 'segmentation'], task_channels=[2, 19], num_classes=19),
            'num_classes: is 19, but task_channels has 2 for motion, ',
        ),
        (
            dict(tasks=['segmentation'], depth_range=[0, 1], num_classes=2),
            'depth_range: none of the tasks segmentation is depth',
        ),
        (
            dict(tasks=['depth'], depth_range=[3, 3]),
            r'depth_range: must increase, such as \[0, 128\], not \[3, 3\]',
        ),
        (dict(tasks=['depth'], depth_range=[-1, 3]), 'depth_range: must be at least 0'),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(values, message):
    with pytest.raises(SectionError, match=f'^{message}') as caught:
        TaskKeys.of_config(values)
    assert '\n' not in str(caught.value)
