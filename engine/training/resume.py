"""``--resume``: which state is meant, whether it is of the same training, and what it decides."""

from pathlib import Path

from common import files
from common.errors import UserError
from common.log import LOG
from datasets.keys import DataKeys
from datasets.loading.loader import Loader
from engine.runs import checkpoints
from engine.runs.checkpoints import TrainingState
from engine.runs.run_folder import RunFolder
from engine.training.optimizer import MOMENTUM_FORM, SolverKeys
from engine.training.plan import TrainingPlan
from engine.training.recipe import Recipe, TrainingKeys
from engine.training.schedules import ScheduleKeys
from engine.training.settings import TrainingSettings


def find(settings: TrainingSettings, folder: RunFolder) -> Path | None:
    """The file that ``--resume`` means; None to start, also where there is none yet."""
    if settings.resume is None:
        return None
    path = folder.state if settings.resume == '' else Path(settings.resume)
    if files.kind_of(path) == 'folder':
        path = RunFolder(path).state
    if settings.resume == '' and files.kind_of(path) is None:
        LOG.info('%s: no state to resume from, starting anew', path)
        return None
    return path


def seed(settings: TrainingSettings, state: TrainingState | None) -> int:
    """The seed of a run; raises ``UserError`` for another one than that of its state."""
    if state is None:
        return settings.seed or 0
    if settings.seed not in (None, state.seed):
        raise UserError(
            f'--seed {settings.seed}: the run that is resumed has the seed {state.seed}; '
            'leave --seed out'
        )
    return state.seed


def check_changes(state: TrainingState, plan: TrainingPlan, recipe: Recipe) -> None:
    """Log what differs from the training that the state is of.

    Raises:
        UserError: Something differs and the settings do not allow it, or it is the form of
            momentum, which cannot change.
    """
    config, processes, before, changed = plan.config, plan.processes, state.config, []
    now, then = SolverKeys.of(config), SolverKeys.of(before)
    if now.momentum_form is not None:
        # States from before there was the key have the form that was the only one.
        form, own = now.momentum_form, then.momentum_form or 'nnabla'
        before = {**before, MOMENTUM_FORM: own}
        if form != own and now.solver == then.solver:
            raise UserError(
                f'the run that is resumed has the momentum of momentum_form {own}, which {form} '
                f'cannot go on with: --set momentum_form={own} does'
            )
    schedule, reference = ScheduleKeys.of(config), TrainingKeys.of(config).reference_batch
    counts = {'milestones': schedule.milestones, 'warmup_iter': schedule.warmup_iter}
    scaled = [key for key, value in counts.items() if value]
    batch = recipe.batch_size * recipe.accumulation * processes.size
    if scaled and not state.scaled and reference not in (None, batch):
        changed.append(f'{" and ".join(scaled)}: now scaled by the reference_batch')
    changed += checkpoints.config_changes(before, config)
    changed += checkpoints.option_changes(state.options, plan.options)
    if state.processes != processes.size:
        changed.append(f'processes: {processes.size} was {state.processes}')
    if not changed:
        return
    if not plan.settings.allow_changes:
        raise UserError(
            f'the run that is resumed was another: {"; ".join(changed)}; '
            '--allow-changes resumes it all the same'
        )
    LOG.warning('resuming with changes: %s', '; '.join(changed))


def tell_what_is_not_taken(state: TrainingState, plan: TrainingPlan) -> None:
    """Log the options that mean something else to a run that is resumed."""
    if plan.settings.pretrained:
        LOG.info('-p %s is not read: the weights are those of the state', plan.settings.pretrained)
    now, before = (
        DataKeys.of(config).data_dir or 'the default' for config in (plan.config, state.config)
    )
    if now != before:
        LOG.info('the folder of the data is %s, it was %s', now, before)


def resume_data(state: TrainingState, loader: Loader, settings: TrainingSettings) -> None:
    """Go on in the epoch; where another batch or data set makes that impossible, start one."""
    try:
        loader.load_state_dict(state.loader)
    except UserError as error:
        if not settings.allow_changes:
            raise
        LOG.warning('the order of the samples starts anew: %s', error)
