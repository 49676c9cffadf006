"""Choose the criterion of a network: that of its one task, or one for each of several tasks."""

from collections.abc import Mapping
from typing import Any

from common.sections import SectionError
from common.tasks import TaskKeys
from engine.training.losses import criterion, task_criterion
from engine.training.losses.criterion import Criterion
from engine.training.losses.task_criterion import TaskCriterion
from engine.training.losses.task_keys import TaskLossKeys
from models import NetworkInfo


def create_for(config: Mapping[str, Any], info: NetworkInfo) -> Criterion | TaskCriterion:
    """Create the criterion of a config; with the key ``tasks`` one that expects targets by task.

    Args:
        config: The effective config.
        info: Facts of the network.

    Raises:
        SectionError: Keys contradict each other, the number of classes or the tasks.
    """
    if TaskKeys.of(config).tasks is not None:
        return task_criterion.create(config, info.tasks)
    for key, value in vars(TaskLossKeys.of(config)).items():
        if value != getattr(TaskLossKeys(), key):
            raise SectionError(key, 'needs the key tasks; without it the network has one task')
    return criterion.create(config, info.num_classes)
