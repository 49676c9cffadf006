"""Resume a run: find its state, compare it with the present config, restore the data order."""

from pathlib import Path

from common import files
from common.errors import UserError
from common.log import LOG
from datasets.keys import DataKeys
from datasets.loading.loader import Loader
from engine.runs import checkpoints
from engine.runs.checkpoints import TrainingState
from engine.runs.run_folder import RunFolder
from engine.training.hyperparameters import Hyperparameters, TrainingKeys
from engine.training.optimizer import MOMENTUM_FORM, SolverKeys
from engine.training.plan import TrainingPlan
from engine.training.schedules import ScheduleKeys
from engine.training.settings import TrainingSettings

# Neither adding nor omitting this option changes results unnoticed: a bad sample ends a run without
# it, and is logged with it.
SKIP_BAD = '--skip-bad'


def find_state(settings: TrainingSettings, folder: RunFolder) -> Path | None:
    """Return the state file to resume from; None for a new run.

    ``--resume`` without a path falls back to a new run if the output folder has no state.
    """
    if settings.resume is None:
        return None
    path = folder.state if settings.resume == '' else Path(settings.resume)
    if files.kind_of(path) == 'folder':
        path = RunFolder(path).state
    if settings.resume == '' and files.kind_of(path) is None:
        LOG.info('%s: no state to resume from, starting a new run', path)
        return None
    return path


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
    changed += checkpoints.config_changes(before, config)
    options = [{**each, SKIP_BAD: 'off'} for each in (state.options, plan.options)]
    changed += checkpoints.option_changes(*options)
    if state.processes != processes.size:
        changed.append(f'processes: {processes.size} was {state.processes}')
    if not changed:
        return
    if not plan.settings.allow_changes:
        raise UserError(
            f'the resumed run had another config or other options: {"; ".join(changed)}; '
            '--allow-changes resumes it nevertheless'
        )
    LOG.warning('resuming with changes: %s', '; '.join(changed))


def log_ignored_options(state: TrainingState, plan: TrainingPlan) -> None:
    """Log the options that a resumed run ignores or that have changed without effect."""
    if plan.settings.pretrained:
        LOG.info('-p %s is ignored: the weights come from the state', plan.settings.pretrained)
    now, before = (
        DataKeys.of(config).data_dir or 'the default' for config in (plan.config, state.config)
    )
    if now != before:
        LOG.info('the data folder is %s, it was %s', now, before)


def restore_loader(state: TrainingState, loader: Loader, settings: TrainingSettings) -> None:
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
