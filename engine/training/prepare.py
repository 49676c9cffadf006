"""Prepare a training: check the settings, then create all objects that the loop needs."""

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
from engine.training import effective_config, gpu_check, losses, resume
from engine.training.hyperparameters import Hyperparameters, TrainingKeys, derive_hyperparameters
from engine.training.loop import RunIdentity, TrainingLoop
from engine.training.losses import Criterion
from engine.training.optimizer import SolverKeys
from engine.training.plan import TrainingPlan, choose_context, describe_processes
from engine.training.schedules import ScheduleKeys
from engine.training.settings import TrainingSettings
from engine.training.trainer import Trainer
from engine.training.validation import Validation
from models import Network
from models.family import NetworkKeys

MAX_LOADER_WORKERS = 4  # per training process, unless --workers sets another number


def prepare(settings: TrainingSettings, processes: Processes, stack: ExitStack) -> TrainingLoop:
    """Check the settings, and create the training loop with all its objects.

    Args:
        settings: The settings of the user.
        processes: All processes of the job.
        stack: Receives the clean-up of the run: closes its log, releases its folder.

    Raises:
        UserError: The settings, the config or the data do not permit the run.
    """
    config = effective_config.load(settings)
    folder = RunFolder(settings.output or Path('runs') / config.name)
    source = resume.find_state(settings, folder)
    state = checkpoints.load(source) if source else None
    own = source is not None and source.resolve() == folder.state.resolve()
    seed = resume.seed_of_run(settings, state)
    data = open_dataset(config, DataKeys.of(config).train_split)
    with config.naming_origins():
        hyperparameters = _hyperparameters(config, len(data), processes.size)
    config = effective_config.complete(config, state, settings.weights_url)
    network = models.create(config)
    folder.info = network.info
    with config.naming_origins():
        criterion = losses.create(config, network.info.num_classes)
    if not processes.rank:
        folder.claim(resume=own)
        stack.callback(folder.release)
    watchdog = stack.enter_context(
        Watchdog(settings.timeout, processes.end_job, armed=processes.size > 1)
    )
    choice = choose_context(settings, processes)
    plan = TrainingPlan(settings, config, seed, processes, choice)
    logger = _start_logging(plan, folder, hyperparameters, state, stack)
    validation = _register(plan, network, initialise=state is None)
    loader = _make_loader(plan, data, hyperparameters.batch_size, network)
    stack.callback(loader.close)
    with config.naming_origins():
        trainer = _make_trainer(plan, loader, hyperparameters, network, criterion)
    if state is not None:
        trainer.load_state(state)
        resume.restore_loader(state, loader, settings)
    trainer.broadcast_parameters()
    if choice.name == 'cudnn' and not settings.skip_self_check:
        _check_gpu(plan, trainer, watchdog)
    if not processes.rank:
        folder.write_config(config, f'Trained {plan}')
    return TrainingLoop(
        RunIdentity(config, seed, plan.options),
        trainer,
        validation,
        processes,
        folder=folder,
        logger=logger,
        watchdog=watchdog,
        saved=(folder.state if own else source, state.iteration) if state and source else None,
        best=state.best if state and folder.best.exists() else None,
    )


def _hyperparameters(config: Config, samples: int, processes: int) -> Hyperparameters:
    training, schedule = TrainingKeys.of(config), ScheduleKeys.of(config)
    return derive_hyperparameters(training, schedule, SolverKeys.of(config), samples, processes)


def _start_logging(
    plan: TrainingPlan,
    folder: RunFolder,
    hyperparameters: Hyperparameters,
    state: TrainingState | None,
    stack: ExitStack,
) -> RunLogger:
    """Open the log of the run, and log its devices and the state that it resumes from.

    Raises:
        UserError: The processes use different kinds of devices, or the state belongs to another
            training.
    """
    descriptions = describe_processes(plan)
    if state is not None:
        resume.check_changes(state, plan, hyperparameters)
    logger = stack.enter_context(_logger(plan, folder, hyperparameters, state))
    LOG.info('the run is in %s, seed %d', folder.path, plan.seed)
    for line in descriptions:
        LOG.info('%s', line)  # only rank 0 shows its log
    if state is not None:
        resume.log_ignored_options(state, plan)
    return logger


def _logger(
    plan: TrainingPlan,
    folder: RunFolder,
    hyperparameters: Hyperparameters,
    state: TrainingState | None,
) -> RunLogger:
    choice = plan.choice
    return RunLogger(
        folder.path,
        log_interval=plan.settings.log_interval,
        max_iter=hyperparameters.max_iter,
        active=not plan.processes.rank,
        start_iteration=state.iteration if state else 0,
        pending=state.extras.get('pending', ()) if state else (),
        memory=None if choice.name == 'cpu' else lambda: gpu_memory_mib(choice.device),
    )


def _register(plan: TrainingPlan, network: Network, initialise: bool) -> Validation | None:
    """Register and initialise the network's parameters; return the validation, if there is one."""
    nn.random.set_parameter_seed(plan.seed)

    def release() -> None:
        context.release_cached_memory(plan.choice)

    predictor = Predictor(network, release)  # registers the parameters
    validation = None
    if not plan.settings.no_validation:
        validation = Validation(plan.config, predictor, release, plan.processes)
    if initialise:
        _initialise(plan.config, network, plan.settings.weights_url)
    return validation


def _make_loader(plan: TrainingPlan, data: Dataset, batch_size: int, network: Network) -> Loader:
    """Create the loader of this process's share of the samples."""
    settings, processes = plan.settings, plan.processes
    return Loader(
        data,
        augmentations.create(plan.config),
        batch_size,
        network.info.mean,
        network.info.std,
        network.info.channel_order,
        seed=plan.seed,
        workers=_default_loader_workers(processes)
        if settings.workers is None
        else settings.workers,
        skip_bad=settings.skip_bad,
    ).slice(num_of_slices=processes.size, slice_pos=processes.rank)


def _make_trainer(
    plan: TrainingPlan,
    loader: Loader,
    hyperparameters: Hyperparameters,
    network: Network,
    criterion: Criterion,
) -> Trainer:
    settings, processes = plan.settings, plan.processes
    keys = TrainingKeys.of(plan.config)
    communicator = communicators.connect(processes, plan.choice)
    return Trainer(
        network,
        criterion,
        SolverKeys.of(plan.config),
        hyperparameters,
        loader,
        processes,
        communicator,
        seed=plan.seed,
        half=plan.choice.type_config == 'half',
        frozen=keys.freeze,
        build={
            'recompute': keys.recompute,
            'communicator': None if settings.no_sync_bn else communicator,
            'freeze_statistics': keys.freeze_statistics,
            'channel_last': settings.channel_last,
        },
    )


def _check_gpu(plan: TrainingPlan, trainer: Trainer, watchdog: Watchdog) -> None:
    """Compare the functions of the training with the CPU, on two images of the largest size."""
    size = augmentations.create(plan.config).largest().size
    loss = trainer.loss((min(2, trainer.hyperparameters.batch_size), 3, *size))
    gpu_check.require_agreement(
        loss, plan.choice, SolverKeys.of(plan.config), plan.processes, watchdog
    )
    watchdog.note_progress('the self-check')


def _initialise(config: Config, network: Network, url: str | None) -> None:
    """Load the pretrained weights, if there are any, and log missing and unused parameters."""
    pretrained = NetworkKeys.of(config).pretrained
    if pretrained is None:
        return
    path = models.weights.find(pretrained, url)
    report = models.weights.initialise(path, network.info.num_classes)
    LOG.info('%s: %d pretrained parameters', path, len(report.loaded))
    if report.missing:
        LOG.info(
            '%d parameters keep their initial values, among them %s',
            len(report.missing),
            report.missing[-1],
        )
    if report.extra:
        LOG.warning(
            '%d pretrained parameters are not in %s, among them %s',
            len(report.extra),
            network.name,
            report.extra[-1],
        )


def _default_loader_workers(processes: Processes) -> int:
    """Return the number of loader workers: one per core of its share, within the maximum."""
    return min(MAX_LOADER_WORKERS, cores(processes.local_size))
