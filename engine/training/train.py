"""train.py from its options to a run that can begin: what is checked, read and made."""

import json
import os
from argparse import Namespace
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import nnabla as nn

import models
from common import files
from common.errors import UserError
from common.log import LOG
from common.machine import cores, gpu_memory_mib
from datasets import Dataset
from datasets.loading import transforms
from datasets.loading.loader import Loader
from engine import config as configs
from engine.config import Config
from engine.config.data import open_dataset
from engine.device import context
from engine.device.context import Choice
from engine.distributed import communicators
from engine.distributed.processes import Processes, joined
from engine.distributed.watchdog import Watchdog
from engine.inference.predictor import Predictor
from engine.runs import checkpoints
from engine.runs.checkpoints import TrainingState
from engine.runs.logger import RunLogger
from engine.runs.run_folder import RunFolder
from engine.training import gpu_check, losses, optimizer, resume
from engine.training import recipe as recipes
from engine.training.loop import Origin, TrainingLoop
from engine.training.recipe import Recipe
from engine.training.trainer import Trainer
from engine.training.validation import Validation
from models import Network, input_statistics

LARGEST_SEED = 2**32 - 1  # that NumPy's generators take
MOST_WORKERS = 4  # a process, unless --workers says so


@dataclass(frozen=True)
class _Plan:
    """What all parts of a run are made from."""

    args: Namespace
    config: Config
    seed: int
    processes: Processes
    choice: Choice

    @property
    def options(self) -> dict[str, str]:
        """The options that change numbers, as :class:`engine.runs.checkpoints.TrainingState` keeps
        them.
        """
        flags = 'tf32', 'channel_last', 'no_sync_bn', 'skip_bad'
        return {'-c': self.choice.name, '-t': self.choice.type_config} | {
            f'--{flag.replace("_", "-")}': 'on' if getattr(self.args, flag) else 'off'
            for flag in flags
        }

    def __str__(self):
        given = [
            name if value == 'on' else f'{name} {value}'
            for name, value in self.options.items()
            if value != 'off'
        ]
        size = self.processes.size
        return f'by {size} process{"es" if size > 1 else ""} with {" ".join(given)}'


def run(args) -> int:
    """Train as the options say, in all processes of the job; returns the exit status."""
    with joined() as processes, ExitStack() as stack:
        with processes.in_unison():
            loop = _prepare(args, processes, stack)
        return loop.run()


def _prepare(args: Namespace, processes: Processes, stack: ExitStack) -> TrainingLoop:
    """Check and make all that a run needs; what it must give back at its end is on the stack."""
    _check_options(args)
    config = configs.load(args.config_file, _overrides(args))
    folder = RunFolder(args.output or Path('runs') / config.name)
    source = resume.find(args, folder)
    state = checkpoints.load(source) if source else None
    own = source is not None and source.resolve() == folder.state.resolve()
    seed = resume.seed(args, state)
    data = open_dataset(config, config.get('train_split', 'train'))
    recipe = recipes.from_config(config, len(data), processes.size)
    config = _with_momentum_form(args, _with_input_statistics(args, config, state))
    network = models.create(config)
    folder.info = network.info
    _check_keys(config, network)
    if not processes.rank:
        folder.claim(resume=own)
        stack.callback(folder.release)
    watchdog = stack.enter_context(
        Watchdog(args.timeout, processes.end_job, armed=processes.size > 1)
    )
    plan = _Plan(args, config, seed, processes, _choose_context(args, processes))
    places = _places(plan)
    if state is not None:
        resume.check_changes(state, config, plan.options, processes, allowed=args.allow_changes)
    logger = stack.enter_context(_logger(plan, folder, recipe, state))
    LOG.info('the run is in %s, seed %d', folder.path, seed)
    for line in places:
        LOG.info('%s', line)  # shown by rank 0
    if state is not None:
        resume.tell_what_is_not_taken(state, args, config)
    validation = _register(plan, network, initialise=state is None)
    trainer = _make_trainer(plan, data, recipe, network)
    stack.callback(trainer.loader.close)
    if state is not None:
        trainer.load_state(state)
        resume.resume_data(state, trainer.loader, args)
    trainer.agree()
    if plan.choice.name == 'cudnn' and not args.skip_self_check:
        _check_gpu(plan, trainer, watchdog)
    if not processes.rank:
        folder.write_config(config, f'Trained {plan}')
    return TrainingLoop(
        Origin(config, seed, plan.options),
        trainer,
        validation,
        processes,
        folder=folder,
        logger=logger,
        watchdog=watchdog,
        saved=(folder.state if own else source, state.iteration) if state else None,
        best=state.best if state and folder.best.exists() else None,
    )


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


def _check_keys(config: Config, network: Network):
    """Raise ``UserError`` for mistakes that need neither data nor parameters to be found."""
    losses.from_config(config, network.info.num_classes)
    optimizer.check(config)


def _overrides(args) -> list[str]:
    """Options that stand for keys of the config, so that the run's config has them too."""
    overrides = list(args.overrides)
    if args.data_dir:
        overrides.append(f'data_dir={json.dumps(os.path.abspath(args.data_dir))}')
    if args.pretrained:
        there = files.kind_of(Path(args.pretrained)) == 'file'
        name = os.path.abspath(args.pretrained) if there else args.pretrained
        overrides.append(f'pretrained={json.dumps(name)}')
    if args.recompute:
        overrides.append(f'recompute={args.recompute}')
    return overrides


def _with_input_statistics(args, config: Config, state: TrainingState | None) -> Config:
    """The config with the statistics of the input that the weights to start from were trained on,
    unless it says its own; a run that goes on keeps those of its state.
    """
    if 'pretrained' not in (config if state is None else state.config):
        return config
    if state is not None:
        known = {key: state.config[key] for key in input_statistics.KEYS if key in state.config}
    else:
        path = models.weights.find(config['pretrained'], args.weights_url)
        known = models.weights.input_statistics(path)
        own = models.create(config)
        if input_statistics.obeyed(own, known, config, path) is own:
            return config
    return _completed(args, config, known)


def _with_momentum_form(args, config: Config) -> Config:
    """The config with the form of momentum that its network's family has, unless it says one."""
    form = models.create(config).family.momentum_form
    return _completed(args, config, optimizer.momentum_form(config, form))


def _completed(args, config: Config, known: Mapping) -> Config:
    """The config with those keys of ``known`` that it lacks."""
    given = {
        key: config[key]
        for key in (*input_statistics.KEYS, optimizer.MOMENTUM_FORM)
        if key in config
    }
    missing = {key: value for key, value in known.items() if key not in given}
    overrides = [f'{key}={json.dumps(value)}' for key, value in (given | missing).items()]
    return configs.load(args.config_file, [*_overrides(args), *overrides]) if missing else config


def _choose_context(args, processes: Processes) -> Choice:
    """Make the context the default; each process of a machine has a GPU of its own."""
    choice = context.use(args.context, args.type_config, processes.local_rank, tf32=args.tf32)
    if args.channel_last and choice.name == 'cpu':
        raise UserError('--channel-last: the CPU computes in (N, C, H, W) only; it needs a GPU')
    return choice


def _places(plan: _Plan) -> list[str]:
    """A line on each process; raises ``UserError`` when not all compute on the same kind of
    device.
    """
    processes, choice = plan.processes, plan.choice
    places = processes.gather((str(processes), os.getpid(), choice))
    if len({choice.name for _, _, choice in places}) > 1:
        on_cpu = '; '.join(f'{who} is {own}' for who, _, own in places if own.name == 'cpu')
        raise UserError(f'only some processes have a GPU: {on_cpu}; mend that, or take -c cpu')
    return [f'{who}, process {number}: {own}' for who, number, own in places]


def _logger(
    plan: _Plan, folder: RunFolder, recipe: Recipe, state: TrainingState | None
) -> RunLogger:
    choice = plan.choice
    return RunLogger(
        folder.path,
        log_interval=plan.args.log_interval,
        max_iter=recipe.max_iter,
        active=not plan.processes.rank,
        start_iteration=state.iteration if state else 0,
        pending=state.extras.get('pending', ()) if state else (),
        memory=None if choice.name == 'cpu' else lambda: gpu_memory_mib(choice.device),
    )


def _register(plan: _Plan, network: Network, initialise: bool) -> Validation | None:
    """Register the network's parameters; returns what scores it."""
    nn.random.set_parameter_seed(plan.seed)

    def release():
        context.release_cached_memory(plan.choice)

    predictor = Predictor(network, release)  # registers the parameters
    validation = None
    if not plan.args.no_validation:
        validation = Validation(plan.config, predictor, release, plan.processes)
    if initialise and 'pretrained' in plan.config:
        _initialise(plan.config, network, plan.args.weights_url)
    return validation


def _make_trainer(plan: _Plan, data: Dataset, recipe: Recipe, network: Network) -> Trainer:
    args, config, processes = plan.args, plan.config, plan.processes
    loader = Loader(
        data,
        transforms.from_config(config),
        recipe.batch_size,
        network.info.mean,
        network.info.std,
        network.info.channel_order,
        seed=plan.seed,
        workers=_workers(processes) if args.workers is None else args.workers,
        skip_bad=args.skip_bad,
    ).slice(num_of_slices=processes.size, slice_pos=processes.rank)
    communicator = communicators.connect(processes, plan.choice)
    build = {
        'recompute': config.get('recompute', 'none'),
        'communicator': None if args.no_sync_bn else communicator,
        'frozen': tuple(config.get('freeze', ())),
        'freeze_statistics': config.get('freeze_statistics', False),
        'channel_last': args.channel_last,
    }
    half = plan.choice.type_config == 'half'
    return Trainer(
        network,
        config,
        recipe,
        loader,
        processes,
        communicator,
        seed=plan.seed,
        half=half,
        build=build,
    )


def _check_gpu(plan: _Plan, trainer: Trainer, watchdog: Watchdog):
    """Compare what the training computes with the CPU, on two images of the largest size."""
    transform = transforms.from_config(plan.config)
    size = transform.largest().size if transform.by_aspect else transform.size
    loss = trainer.loss((min(2, trainer.recipe.batch_size), 3, *size))
    gpu_check.require(loss, plan.choice, plan.config, plan.processes, watchdog)
    watchdog.moved('the self-check')


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
    """Return how many processes load samples: one a core that this process has."""
    return min(MOST_WORKERS, cores(processes.local_size))
