"""The columns of the inference benchmark: what they mean, and how they follow from the times."""

import statistics
from collections.abc import Iterable, Mapping, Sequence

from benchmarks import convolution_limit, harness, plain
from benchmarks.contestants import InferenceContestant

PYTORCH = 'pytorch'  # the key of the note on all its contestants
COLUMN_MEANINGS = {
    'median ms': 'device only: from the prepared input in host memory to the logits in host '
    "memory, at the network's own resolution; this and the following are medians of the turns",
    'e2e ms': 'end to end: decode a JPEG, normalise, infer, resize the logits to its size, argmax, '
    'encode a PNG (no disk; for PyTorch another process decodes and encodes; on a GPU NNabla and '
    'PyTorch resize there)',
    'e2e x': 'speed relative to the first contestant, end to end',
    'x plain': 'speed relative to the plain native graph, as the published code builds it',
    'x nnabla': "speed relative to this project's native graph in float32",
    'x pytorch': 'speed relative to PyTorch with channels_last in the same precision, or in '
    'float32 where PyTorch lacks it',
    'x float32': 'speed relative to the same backend in float32',
    'GMAC/s': 'multiply-accumulates of the convolutions per second, device only, in 10^9',
    'of limit': 'share of the rate that OpenVINO reaches on this CPU with '
    f'{convolution_limit.CONVOLUTION_NAME} in the same precision and turns; more than 1 is '
    'impossible unless convolutions are replaced',
    'start s': 'from the start of the process to the first logits, imports and weights included, '
    'with an empty cache',
    'again s': "the same with the backend's cache, where it has one",
    PYTORCH: 'eager, with autocast except in float32; compiled by torch.compile and recorded as '
    'a CUDA graph with channels_last; channels_last: maps and kernels in memory as (N, H, W, C)',
    'differs': 'largest difference of the logits from NNabla in float32, relative to the largest '
    'logit',
}
CHANNELS_LAST = 'channels_last'  # the PyTorch form behind the column "x pytorch"


def meanings(compared: Iterable[InferenceContestant]) -> dict[str, str]:
    """Return what the columns mean, and how PyTorch runs if it takes part."""
    with_peer = any(way.is_peer for way in compared)
    return {key: text for key, text in COLUMN_MEANINGS.items() if with_peer or key != PYTORCH}


def relative_speeds(
    way: InferenceContestant, device: Mapping[str, Sequence[float]]
) -> dict[str, float | None]:
    """Return the speed relative to each baseline; None if the baseline does not run.

    Args:
        way: The contestant.
        device: Seconds from input to logits of every turn, by the name of the contestant.
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
        found[column] = harness.median_speedup(device[base], device[str(way)]) if base else None
    return found


def absolute_columns(
    result: harness.TimingResult,
    whole: Sequence[float],
    first: Sequence[float],
    details: Mapping[str, float | None],
) -> dict[str, float | None]:
    """Return a contestant's frames per second, times from file to file, memory and start-up times.

    Args:
        result: Times from the prepared input to the logits.
        whole: Seconds from file to file of every turn.
        first: The same of the first contestant.
        details: What else was measured of the contestant.
    """
    end_to_end = 1000 * statistics.median(whole)
    return {
        'FPS': 1000 / result.median_ms,
        'e2e ms': end_to_end,
        'e2e FPS': 1000 / end_to_end,
        'e2e x': harness.median_speedup(first, whole),
        **{key: details[key] for key in ('MiB', 'start s', 'again s', 'differs')},
    }


def convolution_rates(
    rate: float, bound: convolution_limit.ConvolutionLimit | None
) -> dict[str, float | None]:
    """Return the rate of the convolutions in GMAC/s, and its share of the peak rate if known."""
    return {'GMAC/s': rate, 'of limit': rate / bound.best if bound and bound.best else None}
