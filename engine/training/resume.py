"""``--resume``: which state is meant, whether it is of the same training, and what it decides."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from common import files
from common.errors import UserError
from common.log import LOG
from datasets.loading.loader import Loader
from engine.distributed.processes import Processes
from engine.runs import checkpoints
from engine.runs.checkpoints import TrainingState
from engine.runs.run_folder import RunFolder
from engine.training import optimizer


def find(args: Namespace, folder: RunFolder) -> Path | None:
    """The file that ``--resume`` means; None to start, also where there is none yet."""
    if args.resume is None:
        return None
    path = folder.state if args.resume == '' else Path(args.resume)
    if files.kind_of(path) == 'folder':
        path = RunFolder(path).state
    if args.resume == '' and files.kind_of(path) is None:
        LOG.info('%s: no state to resume from, starting anew', path)
        return None
    return path


def seed(args: Namespace, state: TrainingState | None) -> int:
    """The seed of a run; raises ``UserError`` for another one than that of its state."""
    if state is None:
        return args.seed or 0
    if args.seed not in (None, state.seed):
        raise UserError(
            f'--seed {args.seed}: the run that is resumed has the seed {state.seed}; '
            'leave --seed out'
        )
    return state.seed


def check_changes(
    state: TrainingState,
    config: Mapping,
    options: Mapping[str, str],
    processes: Processes,
    allowed: bool,
):
    """Log what differs from the training that the state is of; raises ``UserError`` where that is
    not allowed, and for what would be another form of momentum.
    """
    before, changed = state.config, []
    if optimizer.MOMENTUM_FORM in config:
        # States from before there was the key have the form that was the only one.
        before = {optimizer.MOMENTUM_FORM: 'nnabla', **before}
        form, own = config[optimizer.MOMENTUM_FORM], before[optimizer.MOMENTUM_FORM]
        now, then = (each.get('solver', 'momentum') for each in (config, before))
        if form != own and now == then:
            raise UserError(
                f'the run that is resumed has the momentum of momentum_form {own}, which {form} '
                f'cannot go on with: --set momentum_form={own} does'
            )
    scaled = [key for key in ('milestones', 'warmup_iter') if config.get(key)]
    batch = config['batch_size'] * config.get('accumulation', 1) * processes.size
    if scaled and not state.scaled and config.get('reference_batch', batch) != batch:
        changed.append(f'{" and ".join(scaled)}: now scaled by the reference_batch')
    changed += checkpoints.changes(before, config)
    changed += checkpoints.changed_options(state.options, options)
    if state.processes != processes.size:
        changed.append(f'processes: {processes.size} was {state.processes}')
    if not changed:
        return
    if not allowed:
        raise UserError(
            f'the run that is resumed was another: {"; ".join(changed)}; '
            '--allow-changes resumes it all the same'
        )
    LOG.warning('resuming with changes: %s', '; '.join(changed))


def tell_what_is_not_taken(state: TrainingState, args: Namespace, config: Mapping):
    """Log the options that mean something else to a run that is resumed."""
    if args.pretrained:
        LOG.info('-p %s is not read: the weights are those of the state', args.pretrained)
    now, before = (keys.get('data_dir', 'the default') for keys in (config, state.config))
    if now != before:
        LOG.info('the folder of the data is %s, it was %s', now, before)


def resume_data(state: TrainingState, loader: Loader, args: Namespace):
    """Go on in the epoch; where another batch or data set makes that impossible, start one."""
    try:
        loader.load_state_dict(state.loader)
    except UserError as error:
        if not args.allow_changes:
            raise
        LOG.warning('the order of the samples starts anew: %s', error)
