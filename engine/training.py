"""train.py from its options to its last file: the life of a run."""

import json
import os
import signal
from contextlib import ExitStack
from pathlib import Path

import nnabla as nn

import files
import models
from command import DONE, INTERRUPTED, LOG, TERMINATED, UserError
from datasets import Dataset, transforms
from datasets.loader import Loader
from engine import checkpoints, context, gradients, selfcheck
from engine import config as configs
from engine import recipe as recipes
from engine.checkpoints import State
from engine.communicator import Processes, joined
from engine.config import Config
from engine.context import Choice
from engine.data import open_dataset
from engine.environment import gpu_memory_mib, versions
from engine.journal import Journal
from engine.predictor import Predictor
from engine.recipe import Recipe
from engine.run_folder import RunFolder
from engine.trainer import DivergedError, Trainer
from engine.validation import Validation
from engine.watchdog import Watchdog
from models import Network

# mpirun passes SIGUSR1 on and waits; half a second after the other two it kills its processes.
SIGNALS = {
    signal.SIGINT: INTERRUPTED,
    signal.SIGTERM: TERMINATED,
    signal.SIGUSR1: TERMINATED,
}
LARGEST_SEED = 2**32 - 1  # that NumPy's generators take
MOST_WORKERS = 4  # a process, unless --workers says so


def run(args) -> int:
    """Train as the options say, in all processes of the job; returns the exit status."""
    with joined() as processes, ExitStack() as stack:
        _check_options(args)
        config = configs.load(args.config_file, _overrides(args))
        folder = RunFolder(args.output or Path('runs') / config.name)
        source = _state_to_resume(args, folder)
        state = checkpoints.load(source) if source else None
        seed = _seed(args, state)
        data = open_dataset(config, config.get('train_split', 'train'))
        recipe = recipes.from_config(config, len(data), processes.size)
        if not processes.rank:
            folder.claim(resume=source is not None and source.resolve() == folder.state.resolve())
        if state is not None:
            _check_changes(args, config, processes, state)
        choice = _choose_context(args, processes)
        watchdog = stack.enter_context(Watchdog(args.timeout, processes.end_job))
        journal = stack.enter_context(
            Journal(
                folder.path,
                log_interval=args.log_interval,
                max_iter=recipe.max_iter,
                active=not processes.rank,
                start_iteration=state.iteration if state else 0,
                pending=state.extras.get('pending', ()) if state else (),
                memory=None if choice.name == 'cpu' else lambda: gpu_memory_mib(choice.device),
            )
        )
        LOG.info('the run is in %s, seed %d', folder.path, seed)
        for line in processes.gather(f'{processes}, process {os.getpid()}: {choice}'):
            LOG.info('%s', line)  # shown by rank 0
        network, validation = _make_network(args, config, processes, choice, seed, state is None)
        trainer = _make_trainer(args, config, data, recipe, network, processes, choice, seed)
        stack.callback(trainer.loader.close)
        if state is not None:
            trainer.load_state(state)
            _resume_data(args, trainer.loader, state)
        trainer.agree()
        if choice.name == 'cudnn' and not args.skip_self_check:
            _check_gpu(config, trainer, choice, processes)
            watchdog.moved('the self-check')
        if not processes.rank:
            folder.write_config(config)
        life = _Run(config, folder, trainer, validation, journal, watchdog, processes, seed, state)
        return life.live()


class _Run:
    """The loop of a training, and what happens around it."""

    def __init__(
        self,
        config: Config,
        folder: RunFolder,
        trainer: Trainer,
        validation: Validation | None,
        journal: Journal,
        watchdog: Watchdog,
        processes: Processes,
        seed: int,
        state: State | None,
    ):
        self._config, self._folder, self._trainer = config, folder, trainer
        self._validation, self._journal, self._watchdog = validation, journal, watchdog
        self._processes, self._seed = processes, seed
        self._best = state.best if state and folder.best.exists() else None
        self._signal = None
        self._interruptible = False  # whether a signal ends at once what is being done

    def live(self) -> int:
        """Train to the end, or until a signal; returns the exit status."""
        trainer, last = self._trainer, self._trainer.recipe.max_iter
        before = {number: signal.signal(number, self._note_signal) for number in SIGNALS}
        try:
            if trainer.iteration:
                self._finish_milestone()
            while trainer.iteration < last:
                step = trainer.step(lambda: self._signal is not None)
                self._watchdog.moved(f'iteration {trainer.iteration}')
                self._journal.step(
                    trainer.iteration, step.loss, step.rate, step.data_seconds, step.seconds
                )
                milestone = self._is_milestone(trainer.iteration)
                if milestone or step.stop:
                    self._save_state()
                if step.stop:
                    return self._stopped()
                if milestone:
                    self._finish_milestone()
            return DONE
        except KeyboardInterrupt:
            if not self._interruptible:
                raise
            status = self._stopped()
            if self._processes.size > 1:  # the others may wait for this one in what is due
                self._processes.leave(status)
            return status
        except DivergedError as error:
            latest = self._folder.latest() or self._folder.state
            there = f'the last good weights are {latest}' if latest.exists() else 'no weights yet'
            raise DivergedError(f'{error}; {there}; a lower lr may help') from error
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _is_milestone(self, iteration: int) -> bool:
        return self._saves_at(iteration) or self._validates_at(iteration)

    def _saves_at(self, iteration: int) -> bool:
        recipe = self._trainer.recipe
        return iteration % recipe.save_interval == 0 or iteration == recipe.max_iter

    def _validates_at(self, iteration: int) -> bool:
        recipe = self._trainer.recipe
        due = iteration % recipe.val_interval == 0 or iteration == recipe.max_iter
        return self._validation is not None and due

    def _finish_milestone(self):
        """What is due at this iteration after the state has been saved; done again on resuming, as
        it may not have come to an end.
        """
        trainer, iteration = self._trainer, self._trainer.iteration
        self._interruptible = True
        if self._signal is not None:  # came while the state was being saved
            raise KeyboardInterrupt
        with trainer.evaluated():
            if self._saves_at(iteration) and not self._processes.rank:
                self._folder.save_weights(iteration)
                self._folder.prune(trainer.recipe.keep_checkpoints)
            if self._validates_at(iteration):
                self._validate(iteration)
            if iteration == trainer.recipe.max_iter and not self._processes.rank:
                LOG.info('%s: the trained weights', self._folder.save_final())
        self._interruptible = False
        self._watchdog.moved(f'what was due at iteration {iteration}')

    def _validate(self, iteration: int):
        self._trainer.agree()
        report, pictures = self._validation.run(self._processes, self._watchdog)
        self._journal.validation(iteration, report)
        self._journal.pictures(iteration, pictures)
        if self._best is None or (report['miou'] or 0) > self._best['miou']:
            self._best = {'miou': report['miou'] or 0, 'iteration': iteration}
            if not self._processes.rank:
                self._folder.save_best()

    def _save_state(self):
        """Write the state; all ranks check that it is worth it, rank 0 writes, all wait for it."""
        parts = self._trainer.state()
        if not self._processes.rank:
            state = State(
                **parts,
                best=self._best,
                seed=self._seed,
                config=dict(self._config),
                processes=self._processes.size,
                versions=versions(),
                name=self._config.name,
                extras={'pending': self._journal.pending()},
            )
            checkpoints.save(self._folder.state, state)
        self._processes.gather(None)  # whoever leaves first ends the others

    def _note_signal(self, number, frame):
        """The first signal ends training after the step, and what is done besides at once."""
        again, self._signal = self._signal is not None, number
        if again or self._interruptible:
            raise KeyboardInterrupt

    def _stopped(self) -> int:
        if not self._processes.rank:
            LOG.warning(
                'stopped after iteration %d, which is saved; --resume goes on from there',
                self._trainer.iteration,
            )
        return SIGNALS.get(self._signal, INTERRUPTED)


def _check_options(args):
    for option, least in (('log_interval', 1), ('workers', 0), ('seed', 0)):
        value = getattr(args, option)
        if value is not None and value < least:
            name = option.replace('_', '-')
            raise UserError(f'--{name} must be at least {least}, not {value}')
    if args.seed is not None and args.seed > LARGEST_SEED:
        raise UserError(f'--seed must be at most {LARGEST_SEED}, not {args.seed}')
    if not args.timeout > 0:
        raise UserError(f'--timeout must be greater than 0 seconds, not {args.timeout:g}')


def _overrides(args) -> list[str]:
    """Options that stand for keys of the config, so that the run's config has them too."""
    overrides = list(args.set)
    if args.data_dir:
        overrides.append(f'data_dir={json.dumps(os.path.abspath(args.data_dir))}')
    if args.pretrained:
        there = files.kind_of(Path(args.pretrained)) == 'file'
        name = os.path.abspath(args.pretrained) if there else args.pretrained
        overrides.append(f'pretrained={json.dumps(name)}')
    if args.recompute:
        overrides.append(f'recompute={args.recompute}')
    return overrides


def _state_to_resume(args, folder: RunFolder) -> Path | None:
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


def _seed(args, state: State | None) -> int:
    if state is None:
        return args.seed or 0
    if args.seed not in (None, state.seed):
        raise UserError(
            f'--seed {args.seed}: the run that is resumed has the seed {state.seed}; '
            'leave --seed out'
        )
    return state.seed


def _choose_context(args, processes: Processes) -> Choice:
    """Make the context the default; each process of a machine has a GPU of its own."""
    choice = context.use(args.context, args.type_config, processes.local_rank, tf32=args.tf32)
    if args.channel_last and choice.name == 'cpu':
        raise UserError('--channel-last: the CPU computes in (N, C, H, W) only; it needs a GPU')
    return choice


def _make_network(
    args, config: Config, processes: Processes, choice: Choice, seed: int, initialise: bool
) -> tuple[Network, Validation | None]:
    """The network with its parameters registered, and what scores it."""
    network = models.create(config)
    nn.random.set_parameter_seed(seed)
    validation = None
    if not args.no_validation:
        validation = Validation(config, network, choice, processes)
    Predictor(network)  # registers the parameters
    if initialise and 'pretrained' in config:
        _initialise(config, network, args.weights_url)
    return network, validation


def _make_trainer(
    args,
    config: Config,
    data: Dataset,
    recipe: Recipe,
    network: Network,
    processes: Processes,
    choice: Choice,
    seed: int,
) -> Trainer:
    loader = Loader(
        data,
        transforms.from_config(config),
        recipe.batch_size,
        network.info.mean,
        network.info.std,
        network.info.channel_order,
        seed=seed,
        workers=_workers(processes) if args.workers is None else args.workers,
        skip_bad=args.skip_bad,
    ).slice(num_of_slices=processes.size, slice_pos=processes.rank)
    communicator = gradients.connect(processes, choice)
    build = {
        'recompute': config.get('recompute', 'none'),
        'communicator': None if args.no_sync_bn else communicator,
        'frozen': tuple(config.get('freeze', ())),
        'freeze_statistics': config.get('freeze_statistics', False),
        'channel_last': args.channel_last,
    }
    half = choice.type_config == 'half'
    return Trainer(
        network, config, recipe, loader, processes, communicator, seed=seed, half=half, build=build
    )


def _check_gpu(config: Config, trainer: Trainer, choice: Choice, processes: Processes):
    """Compare what the training computes with the CPU, on two images of the largest size."""
    transform = transforms.from_config(config)
    size = transform.largest().size if transform.by_aspect else transform.size
    loss = trainer.loss((min(2, trainer.recipe.batch_size), 3, *size))
    selfcheck.require(loss, choice, config, processes)


def _check_changes(args, config: Config, processes: Processes, state: State):
    changed = checkpoints.changes(state.config, config)
    if state.processes != processes.size:
        changed.append(f'processes: {processes.size} was {state.processes}')
    if not changed:
        return
    if not args.allow_changes:
        raise UserError(
            f'the run that is resumed was another: {"; ".join(changed)}; '
            '--allow-changes resumes it all the same'
        )
    LOG.warning('resuming with changes: %s', '; '.join(changed))


def _resume_data(args, loader, state: State):
    """Go on in the epoch; where another batch or data set makes that impossible, start one."""
    try:
        loader.load_state_dict(state.loader)
    except UserError as error:
        if not args.allow_changes:
            raise
        LOG.warning('the order of the samples starts anew: %s', error)


def _initialise(config: Config, network: Network, url: str | None):
    """Load the weights to start from, and say what they do not have."""
    path = models.weights.find(config['pretrained'], url)
    report = models.weights.initialise(path, network.info.num_classes)
    LOG.info('%s: %d parameters to start from', path, len(report.loaded))
    if report.missing:
        LOG.info(
            '%d parameters start from random values, among them %s',
            len(report.missing),
            report.missing[-1],
        )
    if report.extra:
        LOG.warning(
            '%d parameters of it are not in %s, among them %s',
            len(report.extra),
            network.name,
            report.extra[-1],
        )


def _workers(processes: Processes) -> int:
    """As many as there are cores for each process of the machine, within limits."""
    own = int(os.environ.get('OMPI_COMM_WORLD_LOCAL_SIZE', 1))
    return max(1, min(MOST_WORKERS, len(os.sched_getaffinity(0)) // own))
