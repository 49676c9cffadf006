"""Run an NNabla graph in PyTorch, in another Python with torch and numpy only.

The program reads commands such as {"do": "start", "folder": ...} from standard input, one JSON
object per line (see :class:`GraphWorker`), and prints a line of JSON for each. When standard input
closes, it exits at once, even in the middle of a command. :mod:`benchmarks.graph_file` writes the
graph; ``FUNCTIONS`` maps NNabla's functions to PyTorch's. The program imports nothing of the
project.
"""

import json
import os
import platform
import queue
import signal
import sys
import threading
import time
import traceback
from contextlib import nullcontext, suppress
from pathlib import Path

import numpy as np

try:
    import torch
    import torch.nn.functional as F
except ModuleNotFoundError:
    torch = F = None  # tests without torch still read FUNCTIONS

FUNCTIONS = {
    'Add2': lambda a, b, inplace: a + b,
    'Sub2': lambda a, b, inplace: a - b,
    'Mul2': lambda a, b, inplace: a * b,
    'Div2': lambda a, b, inplace: a / b,
    'AddScalar': lambda x, val, inplace: x + val,
    'MulScalar': lambda x, val, inplace: x * val,
    'PowScalar': lambda x, val, inplace: x**val,
    'Identity': lambda x: x,
    'ReLU': lambda x, inplace: F.relu(x),
    'ReLU6': lambda x: F.relu6(x),
    'Swish': lambda x: F.silu(x),
    'Sigmoid': lambda x: torch.sigmoid(x),
    'Tanh': lambda x: torch.tanh(x),
    'Softmax': lambda x, axis: F.softmax(x, axis),
    'Dropout': lambda x, p, seed: F.dropout(x, p),
    'Concatenate': lambda *maps, axis: torch.cat(maps, axis),
    'Transpose': lambda x, axes: x.permute(axes),
    'Reshape': lambda x, shape, inplace: x.reshape(shape),
    'Mean': lambda x, axes, keep_dims: x.mean(axes, keep_dims),
    'GlobalAveragePooling': lambda x: F.adaptive_avg_pool2d(x, 1),
}
INTERPOLATE_MODES = {  # mode, align_corners, half_pixel, half_pixel_for_nn
    ('linear', False, True, False): dict(mode='bilinear', align_corners=False),
    ('linear', True, False, False): dict(mode='bilinear', align_corners=True),
    ('nearest', False, False, False): dict(mode='nearest'),
    ('nearest', False, False, True): dict(mode='nearest-exact'),
}
RANDOM_FUNCTIONS = ('Dropout',)  # never precomputed
WARM_UP_RUNS = 3  # before the recording: libraries choose their kernels in the first runs


def _function(kind):
    def register(function):
        FUNCTIONS[kind] = function
        return function

    return register


@_function('Constant')
def _constant(*, val, shape):
    return torch.full(shape, val)


@_function('Convolution')
def _convolution(x, weight, bias=None, *, base_axis, pad, stride, dilation, group, channel_last):
    _refuse_if(channel_last or base_axis != 1, 'Convolution')
    return F.conv2d(x, weight, bias, stride, pad, dilation, group)


@_function('DepthwiseConvolution')
def _depthwise(x, weight, bias=None, *, base_axis, pad, stride, dilation, multiplier):
    _refuse_if(base_axis != 1, 'DepthwiseConvolution')
    return F.conv2d(x, weight[:, None], bias, stride, pad, dilation, x.shape[1])


@_function('BatchNormalization')
def _batch_norm(
    x, beta, gamma, mean, var, *, axes, decay_rate, eps, batch_stat, no_scale, no_bias
):  # fmt: skip
    _refuse_if(axes != [1] or no_scale or no_bias, 'BatchNormalization')
    vectors = (vector.view(-1) for vector in (mean, var, gamma, beta))
    return F.batch_norm(x, *vectors, batch_stat, 1 - decay_rate, eps)


# The project's batch norm for training on a CPU consists of two functions. The first passes its
# inputs on, and the second calls PyTorch's batch norm.
@_function('BatchStatistics')
def _batch_statistics(x, mean, var, *, decay_rate, eps):
    return mean.view(-1), var.view(-1), decay_rate, eps


@_function('Normalization')
def _normalization(x, statistics, beta, gamma):
    mean, var, decay_rate, eps = statistics
    return F.batch_norm(x, mean, var, gamma.view(-1), beta.view(-1), True, 1 - decay_rate, eps)


@_function('MaxPooling')
def _max_pooling(x, *, kernel, stride, ignore_border, pad, channel_last):
    _refuse_if(channel_last, 'MaxPooling')
    return F.max_pool2d(x, kernel, stride, pad, ceil_mode=not ignore_border)


@_function('AveragePooling')
def _average_pooling(x, *, kernel, stride, ignore_border, pad, channel_last, including_pad):
    _refuse_if(channel_last, 'AveragePooling')
    return F.avg_pool2d(
        x, kernel, stride, pad, ceil_mode=not ignore_border, count_include_pad=including_pad
    )


@_function('Slice')
def _slice(x, *, start, stop, step):
    cuts = ..., *(slice(*cut) for cut in zip(start, stop, step))
    return x[cuts]


@_function('Interpolate')
def _interpolate(
    x, *, output_size, mode, align_corners, half_pixel, half_pixel_for_nn, channel_last
):
    form = INTERPOLATE_MODES.get((mode, align_corners, half_pixel, half_pixel_for_nn))
    _refuse_if(channel_last or form is None, 'Interpolate')
    return F.interpolate(x, tuple(output_size), **form)


@_function('SoftmaxCrossEntropy')
def _softmax_cross_entropy(x, label, *, axis):
    _refuse_if(axis != 1, 'SoftmaxCrossEntropy')
    return F.cross_entropy(x, label[:, 0].long(), reduction='none', ignore_index=-1)[:, None]


def _refuse_if(condition, kind):
    if condition:
        raise ValueError(f'{kind} with these arguments is not supported')


class TorchGraph:
    """An NNabla graph as PyTorch functions.

    Attributes:
        trained: The parameters that have gradients.
    """

    def __init__(self, folder, device='cpu', channels_last=False, train=False):
        """Load the graph.

        Args:
            folder: Folder of the graph's files.
            device: ``cpu`` or ``cuda``.
            channels_last: Whether maps and kernels lie in memory as (N, H, W, C).
            train: Whether parameters have gradients.

        Raises:
            ValueError: A function of the graph is not supported.
        """
        folder = Path(folder)
        document = json.loads((folder / 'graph.json').read_text(encoding='utf-8'))
        unknown = {step['kind'] for step in document['functions']} - set(FUNCTIONS)
        if unknown:
            raise ValueError(f'{", ".join(sorted(unknown))}: not supported, add to FUNCTIONS')
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._device, self._inputs = device, document['inputs']
        self._outputs, self._known = document['outputs'], {}
        with np.load(folder / 'tensors.npz') as arrays:
            for key in arrays.files:
                tensor = torch.from_numpy(arrays[key]).to(device)
                self._known[int(key)] = self._laid_out(tensor)
        self.trained = [self._known[key].requires_grad_() for key in document['trained'] if train]
        self._steps = self._with_last_uses(self._fold(document['functions'], train))

    def __call__(self, *inputs):
        """Return the outputs; every other result is freed after its last use."""
        values = {key: self._laid_out(x) for key, x in zip(self._inputs, inputs)}
        known = self._known
        for function, arguments, sources, target, finished in self._steps:
            tensors = [values[key] if key in values else known[key] for key in sources]
            values[target] = function(*tensors, **arguments)
            del tensors
            for key in finished:
                del values[key]
        return [values[key] for key in self._outputs]

    def _laid_out(self, tensor):
        four = tensor.dim() == 4
        return tensor.contiguous(memory_format=self._format) if four else tensor.contiguous()

    def _fold(self, functions, train):
        """Compute results that depend on no input or trained tensor; return the other functions."""
        left, trained = [], {id(tensor) for tensor in self.trained}
        for each in functions:
            tensors = [self._known.get(key) for key in each['inputs']]
            depends = any(tensor is None or id(tensor) in trained for tensor in tensors)
            if depends or each['kind'] in RANDOM_FUNCTIONS:
                left.append(each)
            else:
                value = FUNCTIONS[each['kind']](*tensors, **each['arguments'])
                self._known[each['outputs'][0]] = value.to(self._device)
        return left

    def _with_last_uses(self, functions):
        """Return the steps, each with the numbers of the tensors that it uses last."""
        kept, seen, steps = {*self._known, *self._outputs}, set(), []
        for each in reversed(functions):
            finished = set(each['inputs']) - kept - seen
            seen |= finished
            steps.append(
                (
                    FUNCTIONS[each['kind']],
                    each['arguments'],
                    each['inputs'],
                    each['outputs'][0],
                    finished,
                )
            )
        return steps[::-1]


class CudaGraph:
    """A CUDA graph, which is recorded in the first run and replayed in every run."""

    def __init__(self, graph):
        self._graph, self._recording = graph, None

    def __call__(self, x):
        """Return the outputs for a tensor on the GPU; the next run overwrites them."""
        if self._recording is None:
            self._record(x)
        self._input.copy_(x)
        self._recording.replay()
        return self._outputs

    def _record(self, x):
        self._input, stream = x.clone(), torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_RUNS):
                self._graph(self._input)
        torch.cuda.current_stream().wait_stream(stream)
        self._recording = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._recording):
            self._outputs = self._graph(self._input)


class GraphWorker:
    """The methods that commands call: ``do`` is a method's name, other keys are its arguments."""

    def start(
        self, folder, device, channels_last, precision, threads, form, mode, mean, std, swap
    ):  # fmt: skip
        """Load the graph of a network.

        Args:
            folder: Folder of the graph's files.
            device: ``cpu`` or ``cuda``.
            channels_last: Whether maps and kernels lie in memory as (N, H, W, C).
            precision: ``float32``, or the type of autocast.
            threads: Threads of PyTorch.
            form: ``eager``, ``compiled`` by torch.compile, or ``recorded`` as a CUDA graph.
            mode: Mode of torch.compile.
            mean: Mean of the pixels, per channel.
            std: Standard deviation of the pixels, per channel.
            swap: Whether the network's input is RGB instead of BGR.

        Returns:
            The versions of PyTorch and Python, and the number of threads.
        """
        graph = self._load(folder, device, channels_last, precision, threads)
        self._run = {
            'eager': lambda: graph,
            'compiled': lambda: torch.compile(graph.__call__, mode=mode),
            'recorded': lambda: CudaGraph(graph),
        }[form]()
        self._mean, self._factor = (np.float32(mean), 1 / np.float32(std))
        self._swap = swap
        return self._version()

    def logits(self, input, output):
        """Run the network on an array in a file; write the first output to another file."""
        np.save(output, self._forward(torch.from_numpy(np.load(input)))[1])

    def turn(self, image, labels, min_seconds):
        """Segment an image repeatedly for at least ``min_seconds``.

        Args:
            image: NPY file of the image, (H, W, 3) uint8, BGR.
            labels: NPY file to write with the class indices, (H, W) uint8.
            min_seconds: Minimum duration in seconds.

        Returns:
            Lists with the seconds of every run: under ``device`` from input to logits, both in host
            memory; under ``whole`` from the image to the class indices.
        """
        pixels, inner, whole = np.load(image), [], []
        while not whole or sum(whole) < min_seconds:
            started = time.perf_counter()
            ordered = pixels[..., ::-1] if self._swap else pixels
            normalised = (ordered - self._mean) * self._factor
            x = torch.from_numpy(np.ascontiguousarray(normalised.transpose(2, 0, 1))[None])
            before = time.perf_counter()
            maps, _ = self._forward(x)
            inner.append(time.perf_counter() - before)
            with torch.inference_mode():
                scores = F.interpolate(maps, pixels.shape[:2], mode='bilinear')
                classes = scores.argmax(1)[0].to(torch.uint8).cpu().numpy()
            whole.append(time.perf_counter() - started)
        np.save(labels, classes)
        return {'device': inner, 'whole': whole}

    def start_training(
        self, folder, device, channels_last, precision, threads, rate, momentum, weight_decay
    ):
        """Load the graph of a loss, which includes its batch, and create an SGD optimizer.

        Args:
            folder: Folder of the graph's files.
            device: ``cpu`` or ``cuda``.
            channels_last: Whether maps and kernels lie in memory as (N, H, W, C).
            precision: ``float32``, or the type of autocast; ``float16`` adds loss scaling.
            threads: Threads of PyTorch.
            rate: Learning rate.
            momentum: Share of the velocity that an update keeps.
            weight_decay: Factor of the L2 regularisation.

        Returns:
            The versions of PyTorch and Python, and the number of threads.
        """
        self._run = self._load(folder, device, channels_last, precision, threads, train=True)
        self._solver = torch.optim.SGD(self._run.trained, rate, momentum, 0, weight_decay)
        self._scaler = torch.amp.GradScaler(device, enabled=precision == 'float16')
        return self._version()

    def step(self):
        """Take one training step; return the loss before the update, and the seconds."""
        started = time.perf_counter()
        self._solver.zero_grad()
        with self._precision:
            (loss,) = self._run()
        loss = loss.float().sum()
        self._scaler.scale(loss).backward()
        self._scaler.step(self._solver)
        self._scaler.update()
        loss = loss.item()
        if self._device == 'cuda':
            torch.cuda.synchronize()
        return loss, time.perf_counter() - started

    def memory(self):
        """Return the peak resident memory so far, in MiB."""
        lines = Path('/proc/self/status').read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith('VmHWM:')) / 1024

    def _load(self, folder, device, channels_last, precision, threads, train=False):
        torch.set_num_threads(threads)
        torch.backends.cudnn.allow_tf32 = False  # NNabla does not use TF32 either
        torch.backends.cudnn.benchmark = True  # cuDNN tries its kernels and uses the fastest
        self._device, self._precision = device, nullcontext()
        if precision != 'float32':
            self._precision = torch.autocast(device, getattr(torch, precision))
        return TorchGraph(folder, device, channels_last, train)

    def _version(self):
        return (
            f'{torch.__version__} in Python {platform.python_version()}, '
            f'{torch.get_num_threads()} threads'
        )

    def _forward(self, x):
        """Return the first output on its device, and a copy in host memory."""
        with torch.inference_mode(), self._precision:
            maps = self._run(x.to(self._device))[0].float()
            return maps, maps.cpu().numpy()


def main():
    """Run commands from standard input; the parent ends the process."""
    # Ctrl-C reaches the parent, which ends this process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers, worker = os.fdopen(os.dup(1), 'w', buffering=1), GraphWorker()
    os.dup2(2, 1)  # output of libraries must not mix with the answers
    commands = queue.SimpleQueue()
    threading.Thread(target=receive_commands, args=(sys.stdin, commands), daemon=True).start()
    while True:
        try:
            command = json.loads(commands.get())
            if torch is None:
                raise ModuleNotFoundError('torch is not installed')
            answer = {'answer': getattr(worker, command.pop('do'))(**command)}
        except Exception as error:
            traceback.print_exc()
            answer = {'error': f'{type(error).__name__}: {error}'}
        with suppress(BrokenPipeError):  # receive_commands ends this process
            print(json.dumps(answer), file=answers)


def receive_commands(lines, commands):
    """Queue the commands; exit when the parent closes standard input."""
    for line in lines:
        commands.put(line)
    os._exit(0)


if __name__ == '__main__':
    main()
