"""Latency, frames a second and memory of networks across engines and precisions.

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
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path

import cv2
import nnabla as nn
import numpy as np

import models
from command import PROJECT, UserError
from datasets import image_files
from engine import predictor
from engine.benchmark import frame, graph_file
from engine.benchmark.contestants import LAYOUTS, REFERENCE, Contestants, Way
from engine.benchmark.pipeline import Task
from models import Network, complexity

PHOTO = PROJECT / 'resources' / 'street.jpg'
LEAST_SECONDS = 0.5  # of a turn; short runs are repeated
PACKAGES = ('openvino', 'onnxruntime', 'onnxruntime-gpu', 'tensorrt', 'nncf')
PRECISIONS = ('float32', 'float16', 'bfloat16', 'int8')
ABOUT = {
    'median ms': 'device only: from the prepared input in the memory of the host to the logits '
    "there, at the network's own resolution; medians of the turns, as all that follows",
    'e2e ms': 'end to end: decode a JPEG, normalise, infer, resize the logits to its size, argmax, '
    'encode a PNG (no disk; for PyTorch, decoding and encoding in another process)',
    'e2e x': 'its multiple of the first contestant, end to end',
    'start s': 'from the start of the process to the first logits, imports and weights included, '
    'nothing kept from before',
    'again s': 'the same with what an engine has kept, where it keeps anything',
    'differs': 'largest difference of the logits from NNabla in float32, as a share of the largest '
    'logit',
}


def ways(
    engines: Sequence[str], precisions: Sequence[str], peer: str | None, context: str
) -> tuple[list[Way], dict[str, str]]:
    """What is compared, first what all others are measured by; and what is left out, and why."""
    compared, left_out = [], {}
    every = [*engines, *(LAYOUTS if peer else ())]
    for precision, engine in itertools.product(precisions, every):
        way, reason = Way(engine, precision), None
        if engine == 'nnabla' and context == 'cpu' and precision != 'float32':
            reason = 'NNabla computes in float32 only on a CPU'
        elif engine == 'nnabla' and precision in ('bfloat16', 'int8'):
            reason = 'NNabla has no such functions'
        elif engine not in ('nnabla', *LAYOUTS) and precision == 'float16':
            reason = 'the other engines have no such form'
        elif engine in LAYOUTS and precision == 'int8':
            reason = 'there is no counterpart'
        if reason:
            left_out[f'left out, {way}'] = reason
        else:
            compared.append(way)
    if not compared:
        raise UserError(f'nothing to compare: {"; ".join(left_out.values())}')
    return compared, left_out


def measure(
    configs: Sequence[Mapping],
    compared: Sequence[Way],
    size: tuple[int, int],
    rounds: int,
    threads: int,
    context: str,
    peer_python: str | None,
) -> tuple[list[frame.Result], dict]:
    """Times, memory and differences of all ways to run each network.

    Raises ``UserError`` for a size that a network cannot take, when a process dies, and when two
    engines in float32 do not compute the same.
    """
    networks = [models.create(config) for config in configs]
    for network in networks:
        nearest = complexity.nearest_size(network.info, size)
        if nearest != size:
            raise UserError(
                f'--size {size[0]}x{size[1]}: {network.name} cannot take it, the nearest is '
                f'{nearest[0]}x{nearest[1]}'
            )
    results, facts = [], {}
    with using_cores(threads):
        for config, network in zip(configs, networks):
            with tempfile.TemporaryDirectory() as folder:
                own, found = _measure(
                    config, network, compared, size, rounds, threads, context, peer_python,
                    Path(folder),
                )  # fmt: skip
            prefix = f'{config.name}: ' if len(configs) > 1 else ''
            results += [replace(result, name=prefix + result.name) for result in own]
            weights = f'weights, {config.name}' if prefix else 'weights'
            facts |= {weights if key == 'weights' else key: found[key] for key in found}
    facts['engines'] = _engines()
    memory = (
        'the most resident memory of its process'
        if context == 'cpu'
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


def _measure(config, network, compared, size, rounds, threads, context, peer_python, folder):
    task, weights, graph = _prepare(config, network, size, threads, context, folder)
    if any(way.engine in LAYOUTS for way in compared):
        graph_file.write(folder, *graph)
    reference = None if compared[0] == REFERENCE else _run(graph, task)
    with Contestants(task, network, peer_python, folder) as contestants:
        for way in compared:
            logits = contestants.start(way, reference)
            if logits is None and way == compared[0]:
                raise UserError(f'{way}: {contestants.facts[f"left out, {way}"]}')
            reference = logits if reference is None else reference
        whole = {name: [] for name in contestants.running}

        def turn(name):
            device, end_to_end = contestants.running[name].turn(LEAST_SECONDS)
            whole[name].append(end_to_end)
            return device

        turns = {name: partial(turn, name) for name in contestants.running}
        results = frame.compare(turns, rounds, warm_up=0, own_clock=True)
        for name, contestant in contestants.running.items():
            contestants.details[name].setdefault('MiB', contestant.memory())
    first = whole[results[0].name]
    results = [
        replace(each, details=_columns(each, whole[each.name], first, contestants.details))
        for each in results
    ]
    return results, {'weights': weights, **contestants.facts}


def _engines() -> str:
    """The versions of the engines that are installed."""
    found = []
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found.append(f'{package} {metadata.version(package)}')
    return ', '.join(found)


def _run(graph, task: Task) -> np.ndarray:
    """The logits of the task's input by NNabla, on the CPU, in this process."""
    (x,), (y,) = graph
    x.d = np.load(task.input)
    y.forward(clear_buffer=True)
    return y.d.copy()


def _columns(result, whole, first, details) -> dict:
    end_to_end = 1000 * statistics.median(whole)
    return {
        'FPS': 1000 / result.median_ms,
        'e2e ms': end_to_end,
        'e2e FPS': 1000 / end_to_end,
        'e2e x': statistics.median(base / mine for base, mine in zip(first, whole)),
        **{key: details[result.name][key] for key in ('MiB', 'start s', 'again s', 'differs')},
    }


def _prepare(config, network: Network, size, threads, context, folder: Path):
    """The task, with its files in ``folder``; what its weights are; the graph for the CPU, as a
    list of inputs and one of outputs.
    """
    nn.clear_parameters()
    nn.random.set_parameter_seed(0)
    with nn.context_scope(nn.Context(['cpu:float'], 'CpuCachedArray', '0')):
        x = nn.Variable((1, 3, *size))
        y = network(x, cuda=False)[0]
    source, weights = _local(config.get('weights')), folder / 'weights.h5'
    if source:
        models.weights.load(source)
    models.weights.save(weights)
    photo = cv2.resize(image_files.read_image(PHOTO), size[::-1], interpolation=cv2.INTER_AREA)
    image, prepared = folder / 'photo.jpg', folder / 'input.npy'
    image_files.write_image(image, photo)
    pixels = image_files.read_image(image)
    np.save(prepared, predictor.normalise(pixels, network.info)[None])
    task = Task(dict(config), weights, image, prepared, size, context, threads)
    return task, source.name if source else 'random, seed 0', ([x], [y])


def _local(name: str | None) -> Path | None:
    """The file of weights that a config names, where it lies here already; nothing is downloaded
    for a benchmark.
    """
    folders = (Path(), PROJECT, models.weights.cache_folder())
    return next((folder / name for folder in folders if name and (folder / name).is_file()), None)
