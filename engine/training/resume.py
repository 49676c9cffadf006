"""Resume a run: find its state, compare it with the present config, restore the data order."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import models
from common import files
from common.errors import UserError
from common.log import LOG
from common.sections import plain
from datasets.keys import DataKeys
from datasets.loading.loader import Loader
from engine.config import Config
from engine.config.data import data_root, input_kind
from engine.config.loading import DEFAULT_CONFIG
from engine.config.task_classes import TaskClassKeys
from engine.runs import checkpoints
from engine.runs.checkpoints import TrainingState
from engine.runs.run_folder import RunFolder
from engine.training.hyperparameters import Hyperparameters, TrainingKeys
from engine.training.optimizer import MOMENTUM_FORM, SolverKeys
from engine.training.plan import TrainingPlan
from engine.training.schedules import ScheduleKeys
from engine.training.settings import TrainingSettings
from engine.training.trainer import Trainer
from models import input_statistics
from models.family import NetworkKeys

# Neither adding nor omitting this option changes results unnoticed: a bad sample ends a run without
# it, and is logged with it.
SKIP_BAD = '--skip-bad'


def find_state(settings: TrainingSettings, folder: RunFolder) -> Path | None:
    """Return the state file to resume from; None for a new run.

    ``--resume`` without a path falls back to a new run if the output folder has no state.
    """
    if settings.resume is None:
        return None
    path = folder.state if settings.resume == '' else _named_state(settings.resume)
    if settings.resume == '' and files.kind_of(path) is None:
        LOG.info('%s: no state to resume from, starting a new run', path)
        return None
    return path


def read_state(path: Path) -> TrainingState:
    """Read the state of a run, whose config must be one of this program.

    Raises:
        UserError: The file is missing, damaged or not a state.
    """
    state = checkpoints.load(path)
    try:
        models.describe(state.config)
        for section in (SolverKeys, DataKeys, NetworkKeys):
            section.of(state.config)
    except UserError as error:
        raise UserError(
            f'{path} cannot be read (its config: {error}); {checkpoints.ADVICE}'
        ) from error
    return state


def own_config(settings: TrainingSettings) -> Path | None:
    """Return the effective config of the run that is resumed; None if there is no such run.

    A run that was killed before its first state has a config, too, and starts again with it.

    Raises:
        UserError: The run has a state, but no config.
    """
    if settings.resume is None:
        return None
    output = RunFolder(settings.output or Path('runs') / DEFAULT_CONFIG.stem)
    state = output.state if settings.resume == '' else _named_state(settings.resume)
    config = RunFolder(state.parent).config
    if files.kind_of(config) == 'file' and RunFolder.of_config(config):
        return config
    if files.kind_of(state) is None:
        return None
    raise UserError(f'{config}: missing, so name the config of the resumed run with -cfg')


def _named_state(resume: str) -> Path:
    """Return the state file that ``--resume PATH`` names by its run folder or itself."""
    path = Path(resume)
    return RunFolder(path).state if files.kind_of(path) == 'folder' else path


def seed_of_run(settings: TrainingSettings, state: TrainingState | None) -> int:
    """Return the seed of a run; a resumed run keeps the seed of its state.

    Raises:
        UserError: ``--seed`` contradicts the state.
    """
    if state is None:
        return settings.seed or 0
    if settings.seed not in (None, state.seed):
        raise UserError(
            f'--seed {settings.seed}: the resumed run has the seed {state.seed}; omit --seed'
        )
    return state.seed


def name_of_run(config: Config, state: TrainingState | None) -> str:
    """Return the name of the config that a run started from, which its own config keeps."""
    return config.name if state is None or config.run is None else state.name


def check_changes(
    state: TrainingState, plan: TrainingPlan, hyperparameters: Hyperparameters
) -> None:
    """Log the differences between the present training and that of the state.

    Args:
        state: The state to resume from.
        plan: The present training.
        hyperparameters: The hyperparameters of the present training.

    Raises:
        UserError: There are differences without ``--allow-changes``, or the form of momentum
            differs, which no option allows.
    """
    config, processes, before, changed = plan.config, plan.processes, state.config, []
    # States older than these keys have the network's.
    statistics = input_statistics.of_info(models.describe(before))
    before = {key: plain(value) for key, value in statistics.items()} | dict(before)
    if 'input_kind' in config:  # states older than the key have the kind that the data set says
        kind = input_kind(config.without('input_kind'), data_root(config))
        before = {'input_kind': kind} | before
    now, then = SolverKeys.of(config), SolverKeys.of(before)
    if now.momentum_form is not None:
        # States older than the key have NNabla's form, then the only one.
        form, own = now.momentum_form, then.momentum_form or 'nnabla'
        before = {**before, MOMENTUM_FORM: own}
        if form != own and now.solver == then.solver:
            raise UserError(
                f'the resumed run was trained with momentum_form {own}, which cannot change to '
                f'{form}: resume with --set momentum_form={own}'
            )
    schedule, reference = ScheduleKeys.of(config), TrainingKeys.of(config).reference_batch
    counts = {'milestones': schedule.milestones, 'warmup_iter': schedule.warmup_iter}
    scaled = [key for key, value in counts.items() if value]
    batch = hyperparameters.batch_size * hyperparameters.accumulation * processes.size
    if scaled and not state.scaled and reference not in (None, batch):
        changed.append(f'{" and ".join(scaled)}: now scaled by the reference_batch')
    changes = checkpoints.config_changes(before, config) + _changed_order(before, config)
    options = [{**each, SKIP_BAD: 'off'} for each in (state.options, plan.options)]
    changed += changes + checkpoints.option_changes(*options)
    if state.processes != processes.size:
        changed.append(f'processes: {processes.size} was {state.processes}')
    if not changed:
        return
    if not plan.settings.allow_changes:
        advice = _own_config_advice(plan) if changes else ''
        raise UserError(
            f'the resumed run had another config or other options: {"; ".join(changed)}; {advice}'
            '--allow-changes resumes it nevertheless'
        )
    LOG.warning('resuming with changes: %s', '; '.join(changed))


def _own_config_advice(plan: TrainingPlan) -> str:
    """Return which options to leave out for the run's own config; '' if none of them is given."""
    settings, given = plan.settings, plan.settings.config
    options = ['-cfg'] if given.config_file and plan.config.run is None else []
    options += ['--set'] if given.overrides else []
    if not options:
        return ''
    output = settings.output or Path('runs') / plan.config.name
    command = ['--resume', settings.resume] if settings.resume else ['-o', str(output), '--resume']
    return f"{shlex.join(command)} without {' and '.join(options)} takes the run's own config; "


def _changed_order(before: Mapping, config: Mapping) -> list[str]:
    """Return a text for each task whose classes are the same in both configs in another order.

    Other names do not influence a training, but another order changes the meaning of labels.
    """
    old, new = _class_names(before), _class_names(config)
    return [
        f'{what}: {", ".join(new[what])} were in the order {", ".join(names)}'
        for what, names in old.items()
        if list(names) != list(new.get(what, ())) and sorted(names) == sorted(new.get(what, ()))
    ]


def _class_names(config: Mapping) -> dict[str, Sequence[str]]:
    """Return the names of the classes of each task that a config names."""
    tables = TaskClassKeys.of(config).tables()
    further = {f'classes of {task}': table.classes for task, table in tables.items()}
    return {'classes': config.get('classes') or (), **further}


def log_ignored_options(state: TrainingState, plan: TrainingPlan) -> None:
    """Log the options that a resumed run ignores or that have changed without effect."""
    if plan.settings.pretrained:
        LOG.info('-p %s is ignored: the weights come from the state', plan.settings.pretrained)
    now, before = (
        DataKeys.of(config).data_dir or 'the default' for config in (plan.config, state.config)
    )
    if now != before:
        LOG.info('the data folder is %s, it was %s', now, before)


def restore(
    path: Path, state: TrainingState, trainer: Trainer, loader: Loader, settings: TrainingSettings
) -> None:
    """Restore the trainer and the position of the loader from the state in a file.

    Raises:
        UserError: The state does not fit; the message names the file.
    """
    try:
        trainer.load_state(state)
        _restore_loader(state, loader, settings)
    except UserError as error:
        raise UserError(f'{path}: {error}') from error


def _restore_loader(state: TrainingState, loader: Loader, settings: TrainingSettings) -> None:
    """Restore the position of the loader in the epoch.

    If the batch or the data set has changed, ``--allow-changes`` starts a new epoch.

    Raises:
        UserError: The position does not fit the loader, and changes are not allowed.
    """
    try:
        loader.load_state_dict(state.loader)
    except UserError as error:
        if not settings.allow_changes:
            raise
        LOG.warning('the sample order restarts: %s', error)
