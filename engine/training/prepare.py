"""Prepare a training: check the settings, then create all objects that the loop needs."""

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import nnabla as nn

import models
from common.log import LOG
from common.machine import cores, gpu_memory_mib
from common.tasks import CLASSES, PICTURE_CHANNELS, TaskKeys
from datasets import Dataset
from datasets.keys import DataKeys
from datasets.label_scan import LabelScan
from datasets.loading import augmentations
from datasets.loading.loader import Loader
from engine.config import Config
from engine.config.data import check_classes, check_further_classes, data_root, open_dataset
from engine.device import context
from engine.distributed import communicators
from engine.distributed.processes import Processes
from engine.distributed.watchdog import Watchdog
from engine.evaluation.score_keys import ScoreKeys
from engine.inference.predictor import Predictor
from engine.runs.checkpoints import TrainingState
from engine.runs.logger import RunLogger
from engine.runs.run_folder import RunFolder
from engine.training import (
    class_coverage,
    data_checks,
    effective_config,
    gpu_check,
    losses,
    resume,
    run_outputs,
)
from engine.training.hyperparameters import Hyperparameters, TrainingKeys, derive_hyperparameters
from engine.training.loop import RunIdentity, TrainingLoop
from engine.training.optimizer import SolverKeys
from engine.training.plan import TrainingPlan, choose_context, describe_processes
from engine.training.schedules import ScheduleKeys
from engine.training.settings import TrainingSettings
from engine.training.trainer import Trainer
from engine.training.training_graphs import AnyCriterion, auxiliary_heads
from engine.training.validation import Validation
from models import Network
from models.class_table import ClassTable
from models.family import NetworkKeys
from models.structure import SINGLE
from models.weights import LoadReport

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
    default = config.run.path if config.run else Path('runs') / config.name
    folder = RunFolder(settings.output or default)
    source = resume.find_state(settings, folder)
    state = resume.read_state(source) if source else None
    own = source is not None and source.resolve() == folder.state.resolve()
    seed = resume.seed_of_run(settings, state)
    data = open_dataset(config, DataKeys.of(config).train_split)
    _check_order(config)
    with config.naming_origins():
        hyperparameters = _hyperparameters(config, len(data), processes.size)
    config = effective_config.complete(config, state, settings.weights_url, data)
    network = models.create(config)
    folder.info = network.info
    if any(task.kind == CLASSES for task in network.info.tasks):
        folder.classes = ClassTable(data.info.classes, data.info.palette)
    with config.naming_origins():
        criterion = losses.create_for(config, network.info)
        ScoreKeys.of(config).weights_of(data.tasks)  # checks the keys before the training starts
    if not processes.rank:
        run_outputs.check_folder(folder, config, data, source, own)
    choice = choose_context(settings, processes)
    plan = TrainingPlan(settings, config, seed, processes, choice)
    predictor = _register(plan, network)
    with config.naming_origins():
        criterion.check_heads(lambda: auxiliary_heads(network))
    initial = None if state else _initialise(plan, network)
    if state is not None:
        resume.check_changes(state, plan, hyperparameters)
    if not processes.rank:
        folder.claim(resume=own)
        stack.callback(folder.release)
    watchdog = stack.enter_context(
        Watchdog(settings.timeout, processes.end_job, armed=processes.size > 1)
    )
    logger = _start_logging(plan, folder, hyperparameters, state, stack)
    scans = data_checks.check_training_split(plan, data, watchdog, resumed=state is not None)
    if initial:
        _log_initial_weights(*initial, network)
    validation = None if settings.no_validation else _make_validation(plan, predictor, scans)
    data_checks.compare_splits(data, scans, validation, processes)
    loader = _make_loader(plan, data, hyperparameters.batch_size, network)
    stack.callback(loader.close)
    with config.naming_origins():
        trainer = _make_trainer(plan, loader, hyperparameters, network, criterion)
    if state is not None and source is not None:
        resume.restore(source, state, trainer, loader, settings)
    trainer.broadcast_parameters()
    if choice.name == 'cudnn' and not settings.skip_self_check:
        _check_gpu(plan, trainer, watchdog, network.info.inputs)
    if not processes.rank:
        folder.write_config(config, f'Trained {plan}')
    LOG.info(
        'training to iteration %d, with a line every %d',
        hyperparameters.max_iter,
        settings.log_interval,
    )
    return TrainingLoop(
        RunIdentity(config, seed, plan.options, resume.name_of_run(config, state)),
        trainer,
        validation,
        processes,
        folder=folder,
        logger=logger,
        watchdog=watchdog,
        saved=(folder.state if own else source, state.iteration) if state and source else None,
        best=state.best if state and folder.best.exists() else None,
        watch=class_coverage.watch_of(data, hyperparameters, processes, trainer.iteration),
    )


def _check_order(config: Config) -> None:
    """Compare the classes that the config names with those of the data set."""
    source, root = f'the config {config.origin("classes")}', data_root(config)
    remedy = (
        'pass data in that order with -d; --set {} starts a training with the names of the data set'
    )
    own = remedy.format('classes=null palette=null')
    check_classes(DataKeys.of(config).classes, source, config, root, own)
    check_further_classes(config, root, remedy.format('task_classes=null'))


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
        UserError: The processes use different kinds of devices.
    """
    descriptions = describe_processes(plan)
    logger = stack.enter_context(_logger(plan, folder, hyperparameters, state))
    LOG.info('the run is in %s, seed %d', folder.path, plan.seed)
    for line in descriptions:
        LOG.info('%s', line)  # only rank 0 shows its log
    if state is not None:
        LOG.info('resuming after iteration %d', state.iteration)
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
        tasks=TaskKeys.of(plan.config).tasks or (),
        pending=state.extras.get('pending', ()) if state else (),
        pending_tasks=state.extras.get('pending_tasks', ()) if state else (),
        seconds=state.extras.get('seconds', 0) if state else 0,
        memory=None if choice.name == 'cpu' else lambda: gpu_memory_mib(choice.device),
    )


def _register(plan: TrainingPlan, network: Network) -> Predictor:
    """Register the network's parameters with seeded values; return a predictor of the network."""
    nn.random.set_parameter_seed(plan.seed)
    return Predictor(network, partial(context.release_cached_memory, plan.choice))


def _make_validation(
    plan: TrainingPlan, predictor: Predictor, scans: Mapping[str, LabelScan]
) -> Validation:
    release = partial(context.release_cached_memory, plan.choice)
    precision = 'float16' if plan.choice.type_config == 'half' else 'float32'
    return Validation(plan.config, predictor, release, plan.processes, precision, scans)


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
    criterion: AnyCriterion,
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


def _check_gpu(plan: TrainingPlan, trainer: Trainer, watchdog: Watchdog, inputs: int) -> None:
    """Compare the functions of the training with the CPU, on two images of the largest size."""
    LOG.info('comparing the functions of the training with the CPU')
    size = augmentations.create(plan.config).largest().size
    channels = PICTURE_CHANNELS * inputs
    loss = trainer.loss((min(2, trainer.hyperparameters.batch_size), channels, *size))
    gpu_check.require_agreement(
        loss, plan.choice, SolverKeys.of(plan.config), plan.processes, watchdog
    )
    watchdog.note_progress('the self-check')


def _initialise(plan: TrainingPlan, network: Network) -> tuple[Path, LoadReport] | None:
    """Load the pretrained weights; return their file and what was loaded, or None without any.

    This precedes the run folder, so that wrong weights leave none.
    """
    pretrained = NetworkKeys.of(plan.config).pretrained
    if pretrained is None:
        return None
    path = models.weights.find(pretrained, plan.settings.weights_url)
    return path, models.weights.initialise(path, network.info.num_classes, network)


def _log_initial_weights(path: Path, report: LoadReport, network: Network) -> None:
    """Log the pretrained parameters, and those that are missing or unused."""
    LOG.info('%s: %d pretrained parameters', path, len(report.loaded))
    if network.info.structure != SINGLE:
        LOG.info(
            '%d of them have other names in the file: its blocks go into each stream and decoder',
            len(report.copied),
        )
        if report.missing:
            blocks = ', '.join(models.weights.blocks(report.missing))
            LOG.info('%d parameters keep their initial values: %s', len(report.missing), blocks)
    elif report.missing:
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
