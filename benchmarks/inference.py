"""Measure latency, frames per second and memory of networks on each backend and precision.

Every contestant is a separate process. All contestants of a network stay warm and take turns. A
turn times runs from an image file to encoded class indices. It also times the part of a run from
the prepared input to the logits.
"""

import itertools
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path

import cv2
import nnabla as nn
import numpy as np

import models
from benchmarks import convolution_limit, graph_file, harness, inference_columns, peer, plain
from benchmarks.contestants import Contestants, InferenceContestant, PeerOptions
from benchmarks.pipeline import NATIVE, PipelineTask
from common import PROJECT, files
from common.errors import UserError
from common.log import LOG
from datasets import image_files
from engine.backends import calibration, registry
from engine.config import Config
from engine.inference import predictor
from engine.inference.config_size import config_size
from engine.inference.test_time import Size
from models import Network, complexity
from models.family import NetworkKeys

PHOTO = PROJECT / 'resources' / 'street.jpg'
CALIBRATION_IMAGES = 4  # images that calibrate int8; more images take minutes
BACKEND_PACKAGES = ('openvino', 'onnxruntime', 'onnxruntime-gpu', 'tensorrt', 'nncf')
FACTS_PER_NETWORK = ('size', 'weights', 'int8')


@dataclass(frozen=True)
class Comparison:
    """Settings of a benchmark that all its contestants share.

    Attributes:
        size: Height and width of the image; None for the size of each config.
        rounds: Timed turns of each contestant.
        seconds: Minimum duration of a turn; short runs are repeated.
        threads: Cores that contestants can use.
        context: ``cpu`` or ``cudnn``.
        peer: Options of the PyTorch contestants; None without any.
        data_dir: Folder of the data set whose training images calibrate int8; None for the
            project's photo.
    """

    size: tuple[int, int] | None
    rounds: int
    seconds: float
    threads: int
    context: str
    peer: PeerOptions | None = None
    data_dir: Path | None = None


def select_contestants(
    own: Sequence[str], precisions: Sequence[str], forms: Sequence[str], context: str
) -> tuple[list[InferenceContestant], dict[str, str]]:
    """Select the contestants that can run.

    Args:
        own: Names of the project's backends.
        precisions: Precisions in which every backend and form runs.
        forms: Forms of PyTorch, keys of ``benchmarks.peer.FORMS``.
        context: ``cpu`` or ``cudnn``.

    Returns:
        The contestants, the baseline first, and the excluded ones with the reason.

    Raises:
        UserError: No contestant can run.
    """
    compared, left_out = [], {}
    for precision, backend in itertools.product(precisions, [*own, *forms]):
        way, reason = InferenceContestant(backend, precision), None
        if backend in NATIVE and context == 'cpu' and precision != 'float32':
            reason = 'NNabla computes in float32 only on a CPU'
        elif backend in NATIVE and precision in ('bfloat16', 'int8'):
            reason = 'NNabla lacks this precision'
        elif backend in own and backend not in NATIVE and precision not in registry.precisions():
            reason = 'the other backends lack this precision'
        elif backend in forms and precision == 'int8':
            reason = 'PyTorch has no counterpart'
        elif backend in peer.GPU_FORMS and context == 'cpu':
            reason = 'a CUDA graph needs a GPU'
        if reason:
            left_out[f'left out, {way}'] = reason
        else:
            compared.append(way)
    if not compared:
        raise UserError(f'nothing to compare: {"; ".join(left_out.values())}')
    return compared, left_out


def measure_inference(
    configs: Sequence[Config], compared: Sequence[InferenceContestant], plan: Comparison
) -> tuple[list[harness.TimingResult], dict]:
    """Measure all contestants of each network.

    Args:
        configs: Configs of the networks.
        compared: The contestants, the baseline first.
        plan: Settings that the contestants share.

    Returns:
        The results, and facts for the table.

    Raises:
        UserError: A network cannot take the size, a process died, or the logits of two float32
            backends differ.
    """
    networks = [models.create(config) for config in configs]
    sizes = [_size_for(plan, *each) for each in zip(configs, networks)]
    results, facts = [], {}
    with using_cores(plan.threads):
        for config, network, size in zip(configs, networks, sizes):
            with tempfile.TemporaryDirectory() as folder:
                own, found = _measure_network(config, network, compared, plan, size, Path(folder))
            several = len(configs) > 1
            prefix = f'{config.name}: ' if several else ''
            results += [replace(result, name=prefix + result.name) for result in own]
            for key, fact in found.items():
                facts[f'{key}, {config.name}' if several and key in FACTS_PER_NETWORK else key] = (
                    fact
                )
    facts['backends'] = _installed_backends()
    memory = (
        'peak resident memory of its process'
        if plan.context == 'cpu'
        else 'used memory by nvidia-smi that its process adds'
    )
    return results, facts | inference_columns.meanings(compared) | {'MiB': memory}


def _size_for(plan: Comparison, config: Config, network: Network) -> Size:
    """Return the size at which a network is measured."""
    if plan.size is None:
        return config_size(config, network.info)
    nearest = complexity.nearest_size(network.info, plan.size)
    if nearest != plan.size:
        raise UserError(
            f'--size {plan.size[0]}x{plan.size[1]}: {network.name} cannot take it, the nearest is '
            f'{nearest[0]}x{nearest[1]}'
        )
    return plan.size


@contextmanager
def using_cores(count: int) -> Iterator[None]:
    """Limit this process, and processes started inside, to ``count`` cores.

    Raises:
        UserError: Fewer cores are available.
    """
    before = os.sched_getaffinity(0)
    if not 1 <= count <= len(before):
        raise UserError(f'--threads {count}: only {len(before)} cores are available')
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _measure_network(config, network, compared, plan: Comparison, size: Size, folder):
    """Measure all contestants of one network; return their results and facts."""
    task, facts, graph = _prepare(config, network, compared, plan, size, folder)
    if not plain.has_plain_form(network):
        for way in [way for way in compared if way.backend == plain.NAME]:
            facts[f'left out, {way}'] = f'the graph of {network.name} is the published one'
        compared = [way for way in compared if way.backend != plain.NAME]
        if not compared:
            raise UserError(f'nothing to compare: the graph of {network.name} is the published one')
    if any(way.is_peer for way in compared):
        graph_file.write_graph(folder, *graph)
    reference = None if compared[0].is_reference else _nnabla_logits(graph, task)
    with Contestants(task, network, plan.peer, folder) as contestants:
        for way in compared:
            LOG.info('%s: starting %s', network.name, way)
            logits = contestants.start(way, reference)
            if logits is None and way == compared[0]:
                raise UserError(f'{way}: {contestants.facts[f"left out, {way}"]}')
            reference = logits if reference is None else reference
        device: dict[str, list[float]] = {name: [] for name in contestants.running}
        whole: dict[str, list[float]] = {name: [] for name in contestants.running}
        limits = _limits(compared, plan)

        def turn(name):
            if name == str(compared[0]):
                for each in limits.values():
                    each.turn()
            seconds, end_to_end = contestants.running[name].turn(plan.seconds)
            device[name].append(seconds)
            whole[name].append(end_to_end)
            return seconds

        turns = {name: partial(turn, name) for name in contestants.running}
        results = harness.compare_in_turns(turns, plan.rounds, warm_up=0, own_clock=True)
        for name, contestant in contestants.running.items():
            contestants.details[name].setdefault('MiB', contestant.memory())
    first, names = whole[results[0].name], {str(way): way for way in compared}
    gmacs = complexity.measure_network(network, size).gmacs
    results = [
        replace(
            each,
            details={
                **inference_columns.absolute_columns(
                    each, whole[each.name], first, contestants.details[each.name]
                ),
                **inference_columns.relative_speeds(names[each.name], device),
                **inference_columns.convolution_rates(
                    1000 * gmacs / each.median_ms, limits.get(names[each.name].precision)
                ),
            },
        )
        for each in results
    ]
    return results, facts | contestants.facts


def _limits(
    compared: Sequence[InferenceContestant], plan: Comparison
) -> dict[str, convolution_limit.ConvolutionLimit]:
    """Return the peak convolution rate of the CPU for each precision; none for a GPU."""
    if plan.context != 'cpu':
        return {}
    precisions = dict.fromkeys(way.precision for way in compared)
    return {
        precision: convolution_limit.ConvolutionLimit(precision, plan.threads)
        for precision in precisions
    }


def _installed_backends() -> str:
    """Return the versions of the installed backends."""
    found = []
    for package in BACKEND_PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found.append(f'{package} {metadata.version(package)}')
    return ', '.join(found)


def _nnabla_logits(graph, task: PipelineTask) -> np.ndarray:
    """Run NNabla on the CPU in this process; return the logits of the task's input."""
    (x,), (y,) = graph
    x.d = np.load(task.input)
    y.forward(clear_buffer=True)
    return y.d.copy()


def _prepare(
    config,
    network: Network,
    compared: Sequence[InferenceContestant],
    plan: Comparison,
    size: Size,
    folder: Path,
):
    """Write the files that the contestants share.

    Returns:
        The task, facts on the weights and the calibration images, and NNabla's CPU graph as a list
        of inputs and a list of outputs.
    """
    nn.clear_parameters()
    nn.random.set_parameter_seed(0)
    with nn.context_scope(nn.Context(['cpu:float'], 'CpuCachedArray', '0')):
        x = nn.Variable((1, 3, *size))
        y = network(x, cuda=False)[0]
    source, weights = _local_weights(NetworkKeys.of(config).weights), folder / 'weights.h5'
    if source:
        models.weights.load(source)
    models.weights.save(weights)
    photo = cv2.resize(image_files.read_image(PHOTO), size[::-1], interpolation=cv2.INTER_AREA)
    image, prepared = folder / 'photo.jpg', folder / 'input.npy'
    image_files.write_image(image, photo)
    pixels = image_files.read_image(image)
    np.save(prepared, predictor.normalise(pixels, network.info)[None])
    facts = {'size': f'{size[0]}x{size[1]}'}
    facts['weights'], paths = source.name if source else 'random, seed 0', [image]
    if any(way.precision == 'int8' for way in compared):
        facts['int8'] = f'ranges from {PHOTO.name}'
        if plan.data_dir:
            paths = calibration.find_images(network, config, data_dir=str(plan.data_dir)).paths
            paths = paths[:: -(-len(paths) // CALIBRATION_IMAGES)]
            facts['int8'] = f'ranges from {len(paths)} training images of {plan.data_dir.name}'
    task = PipelineTask(
        dict(config), weights, image, prepared, size, plan.context, plan.threads, tuple(paths)
    )
    return task, facts, ([x], [y])


def _local_weights(name: str | None) -> Path | None:
    """Return the local file of a config's weights, or None: a benchmark downloads nothing."""
    folders = (Path(), PROJECT, files.cache_folder())
    return next((folder / name for folder in folders if name and (folder / name).is_file()), None)
