"""Prepare a training: check, read and make what a run needs before its first iteration."""

from contextlib import ExitStack
from pathlib import Path

import nnabla as nn

import models
from common.log import LOG
from common.machine import cores, gpu_memory_mib
from datasets import Dataset
from datasets.keys import DataKeys
from datasets.loading import augmentations
from datasets.loading.loader import Loader
from engine.config import Config
from engine.config.data import open_dataset
from engine.device import context
from engine.distributed import communicators
from engine.distributed.processes import Processes
from engine.distributed.watchdog import Watchdog
from engine.inference.predictor import Predictor
from engine.runs import checkpoints
from engine.runs.checkpoints import TrainingState
from engine.runs.logger import RunLogger
from engine.runs.run_folder import RunFolder
from engine.training import effective_config, gpu_check, losses, plan, resume
from engine.training import recipe as recipes
from engine.training.loop import Origin, TrainingLoop
from engine.training.losses import Criterion
from engine.training.optimizer import SolverKeys
from engine.training.plan import TrainingPlan
from engine.training.recipe import Recipe, TrainingKeys
from engine.training.schedules import ScheduleKeys
from engine.training.settings import TrainingSettings
from engine.training.trainer import Trainer
from engine.training.validation import Validation
from models import Network
from models.family import NetworkKeys

MOST_WORKERS = 4  # a process, unless --workers says so


def prepare(settings: TrainingSettings, processes: Processes, stack: ExitStack) -> TrainingLoop:
    """Check and make all that a run needs.

    Args:
        settings: What the user asks for.
        processes: All processes of the job.
        stack: Gives back at its end what the run has taken.

    Raises:
        UserError: The run cannot begin.
    """
    config = effective_config.load(settings)
    folder = RunFolder(settings.output or Path('runs') / config.name)
    source = resume.find(settings, folder)
    state = checkpoints.load(source) if source else None
    own = source is not None and source.resolve() == folder.state.resolve()
    seed = resume.seed(settings, state)
    data = open_dataset(config, DataKeys.of(config).train_split)
    recipe = _recipe(config, len(data), processes.size)
    config = effective_config.completed(config, state, settings.weights_url)
    network = models.create(config)
    folder.info = network.info
    criterion = losses.create(config, network.info.num_classes)
    if not processes.rank:
        folder.claim(resume=own)
        stack.callback(folder.release)
    watchdog = stack.enter_context(
        Watchdog(settings.timeout, processes.end_job, armed=processes.size > 1)
    )
    choice = plan.choose_context(settings, processes)
    made = TrainingPlan(settings, config, seed, processes, choice)
    logger = _start_logging(made, folder, recipe, state, stack)
    validation = _register(made, network, initialise=state is None)
    loader = _make_loader(made, data, recipe.batch_size, network)
    stack.callback(loader.close)
    trainer = _make_trainer(made, loader, recipe, network, criterion)
    if state is not None:
        trainer.load_state(state)
        resume.resume_data(state, loader, settings)
    trainer.agree()
    if choice.name == 'cudnn' and not settings.skip_self_check:
        _check_gpu(made, trainer, watchdog)
    if not processes.rank:
        folder.write_config(config, f'Trained {made}')
    return TrainingLoop(
        Origin(config, seed, made.options),
        trainer,
        validation,
        processes,
        folder=folder,
        logger=logger,
        watchdog=watchdog,
        saved=(folder.state if own else source, state.iteration) if state and source else None,
        best=state.best if state and folder.best.exists() else None,
    )


def _recipe(config: Config, samples: int, processes: int) -> Recipe:
    training, schedule = TrainingKeys.of(config), ScheduleKeys.of(config)
    return recipes.from_keys(training, schedule, SolverKeys.of(config), samples, processes)


def _start_logging(
    made: TrainingPlan,
    folder: RunFolder,
    recipe: Recipe,
    state: TrainingState | None,
    stack: ExitStack,
) -> RunLogger:
    """Open the log of the run, and write where it runs and what it goes on from.

    Raises:
        UserError: The processes differ in their devices, or the state is of another training.
    """
    places = plan.places(made)
    if state is not None:
        resume.check_changes(state, made, recipe)
    logger = stack.enter_context(_logger(made, folder, recipe, state))
    LOG.info('the run is in %s, seed %d', folder.path, made.seed)
    for line in places:
        LOG.info('%s', line)  # shown by rank 0
    if state is not None:
        resume.tell_what_is_not_taken(state, made)
    return logger


def _logger(
    made: TrainingPlan, folder: RunFolder, recipe: Recipe, state: TrainingState | None
) -> RunLogger:
    choice = made.choice
    return RunLogger(
        folder.path,
        log_interval=made.settings.log_interval,
        max_iter=recipe.max_iter,
        active=not made.processes.rank,
        start_iteration=state.iteration if state else 0,
        pending=state.extras.get('pending', ()) if state else (),
        memory=None if choice.name == 'cpu' else lambda: gpu_memory_mib(choice.device),
    )


def _register(made: TrainingPlan, network: Network, initialise: bool) -> Validation | None:
    """Register the network's parameters; returns what scores it."""
    nn.random.set_parameter_seed(made.seed)

    def release() -> None:
        context.release_cached_memory(made.choice)

    predictor = Predictor(network, release)  # registers the parameters
    validation = None
    if not made.settings.no_validation:
        validation = Validation(made.config, predictor, release, made.processes)
    if initialise:
        _initialise(made.config, network, made.settings.weights_url)
    return validation


def _make_loader(made: TrainingPlan, data: Dataset, batch_size: int, network: Network) -> Loader:
    """Make the loader of this process's share of the samples."""
    settings, processes = made.settings, made.processes
    return Loader(
        data,
        augmentations.create(made.config),
        batch_size,
        network.info.mean,
        network.info.std,
        network.info.channel_order,
        seed=made.seed,
        workers=_workers(processes) if settings.workers is None else settings.workers,
        skip_bad=settings.skip_bad,
    ).slice(num_of_slices=processes.size, slice_pos=processes.rank)


def _make_trainer(
    made: TrainingPlan, loader: Loader, recipe: Recipe, network: Network, criterion: Criterion
) -> Trainer:
    settings, processes = made.settings, made.processes
    keys = TrainingKeys.of(made.config)
    communicator = communicators.connect(processes, made.choice)
    return Trainer(
        network,
        criterion,
        SolverKeys.of(made.config),
        recipe,
        loader,
        processes,
        communicator,
        seed=made.seed,
        half=made.choice.type_config == 'half',
        frozen=keys.freeze,
        build={
            'recompute': keys.recompute,
            'communicator': None if settings.no_sync_bn else communicator,
            'freeze_statistics': keys.freeze_statistics,
            'channel_last': settings.channel_last,
        },
    )


def _check_gpu(made: TrainingPlan, trainer: Trainer, watchdog: Watchdog) -> None:
    """Compare what the training computes with the CPU, on two images of the largest size."""
    size = augmentations.create(made.config).largest().size
    loss = trainer.loss((min(2, trainer.recipe.batch_size), 3, *size))
    gpu_check.require(loss, made.choice, SolverKeys.of(made.config), made.processes, watchdog)
    watchdog.note_progress('the self-check')


def _initialise(config: Config, network: Network, url: str | None) -> None:
    """Load the weights to start from, if there are any, and log what they do not have."""
    pretrained = NetworkKeys.of(config).pretrained
    if pretrained is None:
        return
    path = models.weights.find(pretrained, url)
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
