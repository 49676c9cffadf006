"""Latency, frames a second and memory of networks across backends and precisions.

Every contestant is a process of its own; all of a network are warm, and take turns. What is timed
is a run from an image file to a file's worth of class indices, and within it the part from the
prepared input to the logits.
"""

import itertools
import os
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path

import cv2
import nnabla as nn
import numpy as np

import models
from benchmarks import frame, graph_file, limit, peer, plain
from benchmarks.contestants import Contestants, InferenceContestant, PeerOptions
from benchmarks.pipeline import NATIVE, PipelineTask
from common import PROJECT, files
from common.errors import UserError
from datasets import image_files
from engine.backends import calibration, registry
from engine.config import Config
from engine.inference import predictor
from models import Network, complexity
from models.family import NetworkKeys

PHOTO = PROJECT / 'resources' / 'street.jpg'
RANGES = 4  # images that the ranges of 8-bit numbers are found on: more take minutes
PACKAGES = ('openvino', 'onnxruntime', 'onnxruntime-gpu', 'tensorrt', 'nncf')
OF_NETWORK = ('weights', 'int8')  # facts that differ from network to network
ABOUT = {
    'median ms': 'device only: from the prepared input in the memory of the host to the logits '
    "there, at the network's own resolution; medians of the turns, as all that follows",
    'e2e ms': 'end to end: decode a JPEG, normalise, infer, resize the logits to its size, argmax, '
    'encode a PNG (no disk; for PyTorch, decoding and encoding in another process; on a GPU NNabla '
    'and PyTorch resize there)',
    'e2e x': 'its multiple of the first contestant, end to end',
    'x plain': 'its multiple of the plain native graph, as the published code builds it',
    'x nnabla': "its multiple of this project's native graph in float32",
    'x pytorch': 'its multiple of PyTorch with channels_last in the same numbers, where it has '
    'them, else in float32',
    'x float32': 'its multiple of the same backend in float32',
    'GMAC/s': 'multiply-accumulates of the convolutions a second, device only, in 10^9',
    'of limit': f'its share of those that {limit.NAME} reaches in the same numbers and turns, by '
    'OpenVINO on this CPU: more than 1 is beyond the processor, unless convolutions are replaced',
    'start s': 'from the start of the process to the first logits, imports and weights included, '
    'nothing kept from before',
    'again s': 'the same with what a backend has kept, where it keeps anything',
    'pytorch': 'eager, with autocast where the numbers are not float32; compiled by torch.compile '
    'and recorded as a CUDA graph with channels_last; channels_last: maps and kernels in memory as '
    '(N, H, W, C)',
    'differs': 'largest difference of the logits from NNabla in float32, as a share of the largest '
    'logit',
}
CHANNELS_LAST = 'channels_last'  # the form of PyTorch that the others are measured by


@dataclass(frozen=True)
class Comparison:
    """How long is measured, and on what.

    seconds: at least those of a turn; short runs are repeated. context: ``cpu`` or ``cudnn``.
    data_dir: the data set with the images for 8-bit numbers; by default the project's photo.
    """

    size: tuple[int, int]
    rounds: int
    seconds: float
    threads: int
    context: str
    peer: PeerOptions | None = None
    data_dir: Path | None = None


def ways(
    own: Sequence[str], precisions: Sequence[str], forms: Sequence[str], context: str
) -> tuple[list[InferenceContestant], dict[str, str]]:
    """What is compared, first what all others are measured by; and what is left out, and why.

    own: backends. forms: of PyTorch.
    """
    compared, left_out = [], {}
    for precision, backend in itertools.product(precisions, [*own, *forms]):
        way, reason = InferenceContestant(backend, precision), None
        if backend in NATIVE and context == 'cpu' and precision != 'float32':
            reason = 'NNabla computes in float32 only on a CPU'
        elif backend in NATIVE and precision in ('bfloat16', 'int8'):
            reason = 'NNabla has no such functions'
        elif backend in own and backend not in NATIVE and precision not in registry.precisions():
            reason = 'the other backends have no such form'
        elif backend in forms and precision == 'int8':
            reason = 'there is no counterpart'
        elif backend in peer.ON_GPU and context == 'cpu':
            reason = 'a CUDA graph needs a GPU'
        if reason:
            left_out[f'left out, {way}'] = reason
        else:
            compared.append(way)
    if not compared:
        raise UserError(f'nothing to compare: {"; ".join(left_out.values())}')
    return compared, left_out


def measure(
    configs: Sequence[Config], compared: Sequence[InferenceContestant], plan: Comparison
) -> tuple[list[frame.Result], dict]:
    """Times, memory and differences of all ways to run each network.

    Raises ``UserError`` for a size that a network cannot take, when a process dies, and when two
    backends in float32 do not compute the same.
    """
    networks, size = [models.create(config) for config in configs], plan.size
    for network in networks:
        nearest = complexity.nearest_size(network.info, size)
        if nearest != size:
            raise UserError(
                f'--size {size[0]}x{size[1]}: {network.name} cannot take it, the nearest is '
                f'{nearest[0]}x{nearest[1]}'
            )
    results, facts = [], {}
    with using_cores(plan.threads):
        for config, network in zip(configs, networks):
            with tempfile.TemporaryDirectory() as folder:
                own, found = _measure(config, network, compared, plan, Path(folder))
            several = len(configs) > 1
            prefix = f'{config.name}: ' if several else ''
            results += [replace(result, name=prefix + result.name) for result in own]
            for key, fact in found.items():
                facts[f'{key}, {config.name}' if several and key in OF_NETWORK else key] = fact
    facts['backends'] = _backends()
    memory = (
        'the most resident memory of its process'
        if plan.context == 'cpu'
        else 'what its process adds to the used memory by nvidia-smi'
    )
    return results, facts | ABOUT | {'MiB': memory}


@contextmanager
def using_cores(count: int) -> Iterator[None]:
    """What is started inside runs on so many cores; raises ``UserError`` when there are fewer."""
    before = os.sched_getaffinity(0)
    if not 1 <= count <= len(before):
        raise UserError(f'--threads {count}: there are {len(before)} cores to use')
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _measure(config, network, compared, plan: Comparison, folder):
    task, facts, graph = _prepare(config, network, compared, plan, folder)
    if not plain.has_plain_form(network):
        for way in [way for way in compared if way.backend == plain.NAME]:
            facts[f'left out, {way}'] = f'the graph of {network.name} is the published one'
        compared = [way for way in compared if way.backend != plain.NAME]
        if not compared:
            raise UserError(f'nothing to compare: the graph of {network.name} is the published one')
    if any(way.is_peer for way in compared):
        graph_file.write(folder, *graph)
    reference = None if compared[0].is_reference else _run(graph, task)
    with Contestants(task, network, plan.peer, folder) as contestants:
        for way in compared:
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
        results = frame.compare(turns, plan.rounds, warm_up=0, own_clock=True)
        for name, contestant in contestants.running.items():
            contestants.details[name].setdefault('MiB', contestant.memory())
    first, names = whole[results[0].name], {str(way): way for way in compared}
    gmacs = complexity.measure_network(network, plan.size).gmacs
    results = [
        replace(
            each,
            details={
                **_columns(each, whole[each.name], first, contestants.details[each.name]),
                **_multiples(names[each.name], device),
                **_rates(1000 * gmacs / each.median_ms, limits.get(names[each.name].precision)),
            },
        )
        for each in results
    ]
    return results, facts | contestants.facts


def _limits(compared: Sequence[InferenceContestant], plan: Comparison) -> dict[str, limit.Limit]:
    """What the CPU can do at most in each precision."""
    if plan.context != 'cpu':
        return {}
    precisions = dict.fromkeys(way.precision for way in compared)
    return {precision: limit.Limit(precision, plan.threads) for precision in precisions}


def _rates(rate: float, bound: limit.Limit | None) -> dict[str, float | None]:
    return {'GMAC/s': rate, 'of limit': rate / bound.best if bound and bound.best else None}


def _backends() -> str:
    """The versions of the backends that are installed."""
    found = []
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found.append(f'{package} {metadata.version(package)}')
    return ', '.join(found)


def _run(graph, task: PipelineTask) -> np.ndarray:
    """The logits of the task's input by NNabla, on the CPU, in this process."""
    (x,), (y,) = graph
    x.d = np.load(task.input)
    y.forward(clear_buffer=True)
    return y.d.copy()


def _multiples(
    way: InferenceContestant, device: Mapping[str, Sequence[float]]
) -> dict[str, float | None]:
    """How many times as fast as others a contestant is; None where those do not take part.

    device: seconds of the turns.
    """
    bases = {
        'x plain': [InferenceContestant(plain.NAME, 'float32')],
        'x nnabla': [InferenceContestant('nnabla', 'float32')],
        'x pytorch': [
            InferenceContestant(CHANNELS_LAST, way.precision),
            InferenceContestant(CHANNELS_LAST, 'float32'),
        ],
        'x float32': [InferenceContestant(way.backend, 'float32')],
    }
    found: dict[str, float | None] = {}
    for column, candidates in bases.items():
        base = next((str(each) for each in candidates if str(each) in device), None)
        found[column] = frame.multiple(device[base], device[str(way)]) if base else None
    return found


def _columns(result, whole, first, details) -> dict:
    end_to_end = 1000 * statistics.median(whole)
    return {
        'FPS': 1000 / result.median_ms,
        'e2e ms': end_to_end,
        'e2e FPS': 1000 / end_to_end,
        'e2e x': frame.multiple(first, whole),
        **{key: details[key] for key in ('MiB', 'start s', 'again s', 'differs')},
    }


def _prepare(
    config,
    network: Network,
    compared: Sequence[InferenceContestant],
    plan: Comparison,
    folder: Path,
):
    """The task, with its files in ``folder``; what its weights are, and the images for 8-bit
    numbers; the graph for the CPU, as a list of inputs and one of outputs.
    """
    size = plan.size
    nn.clear_parameters()
    nn.random.set_parameter_seed(0)
    with nn.context_scope(nn.Context(['cpu:float'], 'CpuCachedArray', '0')):
        x = nn.Variable((1, 3, *size))
        y = network(x, cuda=False)[0]
    source, weights = _local(NetworkKeys.of(config).weights), folder / 'weights.h5'
    if source:
        models.weights.load(source)
    models.weights.save(weights)
    photo = cv2.resize(image_files.read_image(PHOTO), size[::-1], interpolation=cv2.INTER_AREA)
    image, prepared = folder / 'photo.jpg', folder / 'input.npy'
    image_files.write_image(image, photo)
    pixels = image_files.read_image(image)
    np.save(prepared, predictor.normalise(pixels, network.info)[None])
    facts, paths = {'weights': source.name if source else 'random, seed 0'}, [image]
    if any(way.precision == 'int8' for way in compared):
        facts['int8'] = f'ranges from {PHOTO.name}'
        if plan.data_dir:
            paths = calibration.find_images(network, config, data_dir=str(plan.data_dir)).paths
            paths = paths[:: -(-len(paths) // RANGES)]
            facts['int8'] = f'ranges from {len(paths)} training images of {plan.data_dir.name}'
    task = PipelineTask(
        dict(config), weights, image, prepared, size, plan.context, plan.threads, tuple(paths)
    )
    return task, facts, ([x], [y])


def _local(name: str | None) -> Path | None:
    """The file of weights that a config names, where it lies here already; nothing is downloaded
    for a benchmark.
    """
    folders = (Path(), PROJECT, files.cache_folder())
    return next((folder / name for folder in folders if name and (folder / name).is_file()), None)
