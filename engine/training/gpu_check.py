"""Check before a training that NNabla computes the same on this GPU as on the CPU.

Some kernels of NNabla 1.39's CUDA extension stop with an illegal instruction on newer GPUs, after
which the process can no longer use the GPU. Therefore a child process tries the functions of a
training one by one. If a function kills the child, the check reports the function, and another
child continues with the next one.
"""

import json
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass
from typing import Any

import nnabla as nn

from common import PROJECT
from common.errors import UserError
from common.launcher import environment_without_launcher
from common.log import LOG
from engine.device.context import DeviceChoice
from engine.distributed.processes import Processes
from engine.distributed.watchdog import Watchdog
from engine.training.gpu_check_child import REFERENCE, FunctionSpec, function_of
from engine.training.optimizer import SolverKeys

BETWEEN_FUNCTIONS = 'afterwards'  # part after a function has ended and before the next one starts
TIMEOUT_SECONDS = 300  # maximum duration of one function, or of the start of a child process
# Kinds of inputs for functions that need other inputs than normally distributed ones.
STATISTICS = ('normal', 'normal', 'normal', 'normal', 'positive')
INPUT_KINDS = {
    'BatchNormalization': STATISTICS,
    'FusedBatchNormalization': STATISTICS,
    'Div2': ('normal', 'positive'),
    'RDivScalar': ('positive',),
    'PowScalar': ('positive',),
    'Log': ('positive',),
    'MaxPooling': ('distinct',),
    'Max': ('distinct',),
    'Min': ('distinct',),
    'Sort': ('distinct',),
    'TopKData': ('distinct',),
    'Equal': ('labels:4', 'labels:4'),
}
# Arguments that depend on shapes or do not select another kernel.
IGNORED_ARGUMENTS = ('shape', 'start', 'stop', 'output_size', 'seed', 'val')
REDUCTIONS = ('Mean', 'Sum', 'Max', 'Min', 'Prod')
# The setting that makes a training use a function.
SETTINGS = {
    'Sort': 'loss: ohem',
    'Equal': 'dice_weight',
    'LogSoftmax': 'label_smoothing',
    'clipping of gradients': 'clip_norm',
    'moving average of the weights': 'ema_decay',
}
PARAMETER_SHAPES = ((64, 32, 3, 3), (1, 64, 1, 1), (19,))  # the updates are tried on these
NAME_PATTERNS = ('lr_factors', 'no_decay')  # keys that need the parameters' own names
Messages = queue.Queue[Any]  # messages of a child process; None at its end


@dataclass(frozen=True)
class Mismatch:
    """A function whose results on the GPU differ from the CPU, or that fails.

    Attributes:
        spec: The function.
        part: The part of the comparison, such as ``forward``.
        problem: A predicate for the message, such as ``gives wrong numbers``.
    """

    spec: FunctionSpec
    part: str
    problem: str

    def __str__(self) -> str:
        if self.spec.is_update:
            return f"NNabla's {self.spec.type} {self.problem}"
        return f"NNabla's {self.spec.type} ({self.part}) {self.problem}"

    @property
    def setting(self) -> str | None:
        """The option or key without which a training does not use the function."""
        if self.spec.arguments.get('channel_last'):
            return '--channel-last'
        if self.spec.half:
            return '-t half'
        return SETTINGS.get(self.spec.type)


def _ignore_progress(activity: str) -> None:
    """Ignore a report of progress; for a check without a watchdog."""


def require_agreement(
    loss: nn.Variable,
    choice: DeviceChoice,
    keys: SolverKeys,
    processes: Processes,
    watchdog: Watchdog | None = None,
) -> None:
    """Compare the functions of a training with the CPU, in one process of each machine.

    Args:
        loss: The training graph; it is not computed.
        choice: The device, and whether it computes in TF32.
        keys: The solver's keys, which determine the updates of the weights.
        processes: All processes of the job.
        watchdog: Receives a report of each step; paused while other processes compare.

    Raises:
        UserError: A function differs on any machine; all processes raise this error.
    """
    specs, skipped = collect_functions(loss)
    specs += collect_updates(keys)
    on_progress = watchdog.note_progress if watchdog else _ignore_progress
    found = [] if processes.local_rank else find_mismatches(specs, choice, on_progress=on_progress)
    for mismatch in found:
        if mismatch.part == REFERENCE:
            skipped[mismatch.spec.type] = mismatch.problem
    own = [(str(m), m.setting) for m in found if m.part != REFERENCE]
    with watchdog.paused() if watchdog else nullcontext():
        reports = processes.gather(own)
    setting_of = dict(pair for report in reports for pair in report)
    if setting_of:
        settings = {setting: None for setting in setting_of.values() if setting}
        if choice.tf32:
            settings['--tf32'] = None
        without = f', or without {", ".join(settings)}' if settings else ''
        raise UserError(
            f'{"; ".join(setting_of)} on this GPU; train with -c cpu{without}; --skip-self-check '
            'trains nevertheless'
        )
    LOG.info('%d functions agree with the CPU', len(specs) - len(found))
    for name, reason in skipped.items():
        LOG.info('%s is not compared: %s', name, reason)


def collect_functions(loss: nn.Variable) -> tuple[list[FunctionSpec], dict[str, str]]:
    """Collect one function of each kind from a graph.

    The representative of a kind is the function with the smallest inputs. The representative of a
    kind of reduction reduces the most values to each output, since that ratio selects the kernel.

    Returns:
        The functions, and the reason for each type that cannot be compared.
    """
    functions: list[nn.function.Function] = []
    kinds: dict[str, tuple[tuple[float, int], FunctionSpec]] = {}
    skipped: dict[str, str] = {}
    loss.visit(functions.append)
    trained = _trained(loss, functions)
    for function in functions:
        name = function.info.type_name
        if function_of(name) is None:
            skipped[name] = 'it is computed in Python'
            continue
        if name == 'SyncBatchNormalization':
            skipped[name] = 'it needs all processes'
            continue
        spec = spec_of(function, function in trained)
        kind = json.dumps(
            [
                name,
                {k: value for k, value in spec.arguments.items() if k not in IGNORED_ARGUMENTS},
                [[length == 1 for length in shape] for shape in spec.shapes],
                spec.gradients,
                spec.half,
            ]
        )
        size, kept = sum(v.size for v in function.inputs), function.outputs[0].size
        rank = (-size / kept**2 if name in REDUCTIONS else 0), size
        if kind not in kinds or rank < kinds[kind][0]:
            kinds[kind] = rank, spec
    return [spec for _, spec in kinds.values()], skipped


def collect_updates(keys: SolverKeys) -> list[FunctionSpec]:
    """Return the operations on gradients and weights that a training with these keys uses."""
    solver = {name: value for name, value in vars(keys).items() if name not in NAME_PATTERNS}
    used: dict[str, dict] = {'update of the weights': solver, 'look for overflow': {}}
    if keys.clip_norm is not None:
        used['clipping of gradients'] = {'clip_norm': 1.0}
    if keys.ema_decay is not None:
        used['moving average of the weights'] = {'ema_decay': keys.ema_decay}
    return [FunctionSpec(name, arguments, PARAMETER_SHAPES) for name, arguments in used.items()]


def find_mismatches(
    specs: list[FunctionSpec],
    choice: DeviceChoice,
    timeout: float = TIMEOUT_SECONDS,
    on_progress: Callable[[str], None] = _ignore_progress,
) -> list[Mismatch]:
    """Compare functions with the CPU in child processes, which a broken function can kill.

    Args:
        specs: The functions.
        choice: The device, and whether it computes in TF32.
        timeout: Seconds after which a function counts as hanging.
        on_progress: Called with a description of each step.

    Raises:
        UserError: A child process dies or hangs before it starts its first function.
    """
    mismatches: list[Mismatch] = []
    first = 0
    while first < len(specs):
        first += _compare_in_child(specs[first:], choice, timeout, mismatches, on_progress)
    return mismatches


def _compare_in_child(
    specs: Sequence[FunctionSpec],
    choice: DeviceChoice,
    timeout: float,
    mismatches: list[Mismatch],
    on_progress: Callable[[str], None],
) -> int:
    """Compare functions in one child process until it ends, and append to ``mismatches``.

    Returns:
        The number of functions that the child compared or that killed it.
    """
    job = {
        'name': choice.name,
        'device': choice.device,
        'tf32': choice.tf32,
        'specs': [asdict(spec) for spec in specs],
    }
    with tempfile.TemporaryFile('w+', errors='replace') as errors:
        process = subprocess.Popen(
            [sys.executable, '-m', 'engine.training.gpu_check_child'],
            cwd=PROJECT,
            env=environment_without_launcher(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            errors='replace',
        )
        assert process.stdin and process.stdout  # they are pipes
        messages: Messages = queue.Queue()
        reader = threading.Thread(target=_read, args=(process, messages), daemon=True)
        reader.start()
        try:
            with suppress(BrokenPipeError):  # the child is dead; the reason is determined below
                process.stdin.write(json.dumps(job))
                process.stdin.close()
            number, part, problem = _follow(
                process, messages, specs, timeout, mismatches, on_progress
            )
        finally:
            process.kill()
            process.wait()
            reader.join()
            process.stdout.close()
        errors.seek(0)
        last_line = (errors.read().strip().splitlines() or [''])[-1]
    if number is None:
        raise UserError(
            f'the self-check does not start: {last_line or problem}; --skip-self-check trains '
            'without it'
        )
    if problem and process.returncode > 0:
        problem += f': {last_line}'
    if problem:
        mismatches.append(Mismatch(specs[number], part, problem))
    return number + 1


def _read(process: subprocess.Popen[str], messages: Messages) -> None:
    """Queue the messages of a child process, and None at its end."""
    assert process.stdout
    for line in process.stdout:
        if line.endswith('\n'):  # an incomplete last line was cut off when the child died
            messages.put(json.loads(line))
    messages.put(None)


def _follow(
    process: subprocess.Popen[str],
    messages: Messages,
    specs: Sequence[FunctionSpec],
    timeout: float,
    mismatches: list[Mismatch],
    on_progress: Callable[[str], None],
) -> tuple[int | None, str, str | None]:
    """Follow a child process until it ends or hangs.

    Returns:
        The index of the child's last function (None before the first), the part of the comparison,
        and the problem if the child was killed or hung there.
    """
    number: int | None = None
    part, done = BETWEEN_FUNCTIONS, False
    while True:
        try:
            message = messages.get(timeout=timeout)
        except queue.Empty:
            return number, part, f'takes more than {timeout:g} seconds'
        if message is None:
            break
        number, part = message['number'], message.get('part', BETWEEN_FUNCTIONS)
        on_progress(f'the self-check of {specs[number].type}')
        done = 'problem' in message and (message['problem'] or number == len(specs) - 1)
        if message.get('problem'):
            mismatches.append(Mismatch(specs[number], *message['problem']))
    status = process.wait()
    if done:  # the exit status no longer matters
        return number, part, None
    reason = signal.Signals(-status).name if status < 0 else f'status {status}'
    return number, part, f'ends the process ({reason})'


def _trained(loss: nn.Variable, functions: list) -> set:
    """Return the functions that a backward pass from the loss runs through."""
    trained = {loss.parent}
    for function in reversed(functions):
        if function in trained:
            trained |= {v.parent for v in function.inputs if v.need_grad and v.parent is not None}
    return trained


def spec_of(function: nn.function.Function, trained: bool) -> FunctionSpec:
    """Describe a function of a graph; ``trained``: whether a backward pass runs through it."""
    name, arguments = function.info.type_name, dict(function.info.args)
    shapes = [list(variable.shape) for variable in function.inputs]
    values = list(INPUT_KINDS.get(name, ()))
    values += ['normal'] * (len(shapes) - len(values))
    if name == 'SoftmaxCrossEntropy':
        values[1] = f'labels:{shapes[0][arguments["axis"]]}'
    return FunctionSpec(
        name,
        arguments,
        shapes,
        values,
        [trained and variable.need_grad for variable in function.inputs],
        half=any(part.endswith(':half') for part in function.context.backend),
        reference={'channel_last': False} if arguments.get('channel_last') else {},
    )
