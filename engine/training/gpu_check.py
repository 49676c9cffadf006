"""Whether NNabla computes on this GPU what it computes on the CPU: asked before a training.

NNabla 1.39's CUDA extension has kernels that stop with an illegal instruction on newer GPUs, after
which the process can compute nothing any more. So the functions of a training are tried in a
process of its own, one after the other; one that ends the process is named, and another process
goes on behind it.
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
from engine.training.gpu_check_child import REFERENCE, Spec, function_of
from engine.training.optimizer import SolverKeys

AFTERWARDS = 'afterwards'  # the part when a function is done and the next has not begun
LIMIT = 300  # seconds for one function, or for the start of a process
# What the inputs of functions are like, where any numbers would not do.
STATISTICS = ('normal', 'normal', 'normal', 'normal', 'positive')
VALUES = {
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
# Arguments that follow from shapes or do not change what is computed how.
NO_KIND = ('shape', 'start', 'stop', 'output_size', 'seed', 'val')
REDUCTIONS = ('Mean', 'Sum', 'Max', 'Min', 'Prod')
# The setting that brings a function into a training.
SETTINGS = {
    'Sort': 'loss: ohem',
    'Equal': 'dice_weight',
    'LogSoftmax': 'label_smoothing',
    'clipping of gradients': 'clip_norm',
    'moving average of the weights': 'ema_decay',
}
PARAMETERS = ((64, 32, 3, 3), (1, 64, 1, 1), (19,))  # on which updates are tried
NAME_PATTERNS = ('lr_factors', 'no_decay')  # keys that need the parameters' own names
Messages = queue.Queue[Any]  # what a process says; None at its end


@dataclass(frozen=True)
class Finding:
    """A function that does not do on the GPU what it does on the CPU."""

    spec: Spec
    part: str
    problem: str

    def __str__(self) -> str:
        if self.spec.is_update:
            return f"NNabla's {self.spec.type} {self.problem}"
        return f"NNabla's {self.spec.type} ({self.part}) {self.problem}"

    @property
    def setting(self) -> str | None:
        """What to do without in order to do without the function."""
        if self.spec.arguments.get('channel_last'):
            return '--channel-last'
        if self.spec.half:
            return '-t half'
        return SETTINGS.get(self.spec.type)


def _nowhere(what: str) -> None:
    """Nobody watches."""


def require(
    loss: nn.Variable,
    choice: DeviceChoice,
    keys: SolverKeys,
    processes: Processes,
    watchdog: Watchdog | None = None,
) -> None:
    """Compare the functions of a training with the CPU, by one process of each machine.

    Args:
        loss: The training graph; nothing of it is computed.
        choice: The device, and whether it computes in TF32.
        keys: Say which updates of the weights are in use.
        processes: All processes of the job.
        watchdog: Is told of every function that is done, and pauses while others compare.

    Raises:
        UserError: On all processes, when one finds a function that differs.
    """
    specs, skipped = collect(loss)
    specs += updates(keys)
    moved = watchdog.note_progress if watchdog else _nowhere
    findings = [] if processes.local_rank else examine(specs, choice, moved=moved)
    for finding in findings:
        if finding.part == REFERENCE:
            skipped[finding.spec.type] = finding.problem
    own = [(str(f), f.setting) for f in findings if f.part != REFERENCE]
    with watchdog.paused() if watchdog else nullcontext():
        reports = processes.gather(own)
    found = dict(pair for report in reports for pair in report)
    if found:
        settings = {setting: None for setting in found.values() if setting}
        if choice.tf32:
            settings['--tf32'] = None
        without = f', or without {", ".join(settings)}' if settings else ''
        raise UserError(
            f'{"; ".join(found)} on this GPU; train with -c cpu{without}; --skip-self-check trains '
            'all the same'
        )
    LOG.info('%d functions agree with the CPU', len(specs) - len(findings))
    for name, reason in skipped.items():
        LOG.info('%s is not compared: %s', name, reason)


def collect(loss: nn.Variable) -> tuple[list[Spec], dict[str, str]]:
    """One function of each kind in a graph, and the types that cannot be compared, with reasons.

    Of a kind it is the one with the smallest inputs; of reductions, the one that makes a value of
    the most for each that it keeps, as that decides how they are computed.
    """
    functions: list[nn.function.Function] = []
    kinds: dict[str, tuple[tuple[float, int], Spec]] = {}
    skipped: dict[str, str] = {}
    loss.visit(functions.append)
    trained = _trained(loss, functions)
    for function in functions:
        name = function.info.type_name
        if function_of(name) is None:
            skipped[name] = 'it is computed in Python'
            continue
        if name == 'SyncBatchNormalization':
            skipped[name] = 'it takes all processes'
            continue
        spec = spec_of(function, function in trained)
        kind = json.dumps(
            [
                name,
                {k: value for k, value in spec.arguments.items() if k not in NO_KIND},
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


def updates(keys: SolverKeys) -> list[Spec]:
    """Return what is done with the gradients."""
    solver = {name: value for name, value in vars(keys).items() if name not in NAME_PATTERNS}
    used: dict[str, dict] = {'update of the weights': solver, 'look for overflow': {}}
    if keys.clip_norm is not None:
        used['clipping of gradients'] = {'clip_norm': 1.0}
    if keys.ema_decay is not None:
        used['moving average of the weights'] = {'ema_decay': keys.ema_decay}
    return [Spec(name, arguments, PARAMETERS) for name, arguments in used.items()]


def examine(
    specs: list[Spec],
    choice: DeviceChoice,
    limit: float = LIMIT,
    moved: Callable[[str], None] = _nowhere,
) -> list[Finding]:
    """Compare in processes that may end.

    limit: seconds after which a function counts as hanging. moved: told of progress. Raises
    ``UserError`` when a process ends before it tries anything.
    """
    findings: list[Finding] = []
    first = 0
    while first < len(specs):
        first += _examine_until_it_ends(specs[first:], choice, limit, findings, moved)
    return findings


def _examine_until_it_ends(
    specs: Sequence[Spec],
    choice: DeviceChoice,
    limit: float,
    findings: list[Finding],
    moved: Callable[[str], None],
) -> int:
    """Compare in one process, and add to the findings; returns how many functions are done."""
    job = {
        'name': choice.name,
        'device': choice.device,
        'tf32': choice.tf32,
        'specs': [asdict(spec) for spec in specs],
    }
    with tempfile.TemporaryFile('w+') as errors:
        process = subprocess.Popen(
            [sys.executable, '-m', 'engine.training.gpu_check_child'],
            cwd=PROJECT,
            env=environment_without_launcher(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        assert process.stdin and process.stdout  # they are pipes
        messages: Messages = queue.Queue()
        reader = threading.Thread(target=_read, args=(process, messages), daemon=True)
        reader.start()
        try:
            with suppress(BrokenPipeError):  # it has ended already; why is found below
                process.stdin.write(json.dumps(job))
                process.stdin.close()
            number, part, problem = _follow(process, messages, specs, limit, findings, moved)
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
        findings.append(Finding(specs[number], part, problem))
    return number + 1


def _read(process: subprocess.Popen[str], messages: Messages) -> None:
    """Pass on what the process says, and at its end None."""
    assert process.stdout
    for line in process.stdout:
        if line.endswith('\n'):  # else it has been ended in the middle of a word
            messages.put(json.loads(line))
    messages.put(None)


def _follow(
    process: subprocess.Popen[str],
    messages: Messages,
    specs: Sequence[Spec],
    limit: float,
    findings: list[Finding],
    moved: Callable[[str], None],
) -> tuple[int | None, str, str | None]:
    """Which function a process was at when it ended, in which part, with what problem."""
    number: int | None = None
    part, done = AFTERWARDS, False
    while True:
        try:
            message = messages.get(timeout=limit)
        except queue.Empty:
            return number, part, f'takes more than {limit:g} seconds'
        if message is None:
            break
        number, part = message['number'], message.get('part', AFTERWARDS)
        moved(f'the self-check of {specs[number].type}')
        done = 'problem' in message and (message['problem'] or number == len(specs) - 1)
        if message.get('problem'):
            findings.append(Finding(specs[number], *message['problem']))
    status = process.wait()
    if done:  # how the process ends does not matter then
        return number, part, None
    reason = signal.Signals(-status).name if status < 0 else f'status {status}'
    return number, part, f'ends the process ({reason})'


def _trained(loss: nn.Variable, functions: list) -> set:
    """The functions that a backward pass from the loss runs through."""
    trained = {loss.parent}
    for function in reversed(functions):
        if function in trained:
            trained |= {v.parent for v in function.inputs if v.need_grad and v.parent is not None}
    return trained


def spec_of(function: nn.function.Function, trained: bool) -> Spec:
    """A function of a graph; trained: whether a backward pass runs through it."""
    name, arguments = function.info.type_name, dict(function.info.args)
    shapes = [list(variable.shape) for variable in function.inputs]
    values = list(VALUES.get(name, ()))
    values += ['normal'] * (len(shapes) - len(values))
    if name == 'SoftmaxCrossEntropy':
        values[1] = f'labels:{shapes[0][arguments["axis"]]}'
    return Spec(
        name,
        arguments,
        shapes,
        values,
        [trained and variable.need_grad for variable in function.inputs],
        half=any(part.endswith(':half') for part in function.context.backend),
        reference={'channel_last': False} if arguments.get('channel_last') else {},
    )
