"""A graph of NNabla in PyTorch: run in another Python, which needs torch and numpy only.

It reads commands such as {"do": "start", "folder": ...}, one JSON object a line (see
:class:`Worker`), and answers each with a line; when there are no more to come, it ends in the
middle of what it is doing. The graph is that of :mod:`benchmarks.graph_file`; ``FUNCTIONS`` says
what each of NNabla's functions is in PyTorch. Nothing of the project is imported.
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
    torch = F = None  # the table can be read all the same

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
RESIZING = {  # mode, align_corners, half_pixel, half_pixel_for_nn
    ('linear', False, True, False): dict(mode='bilinear', align_corners=False),
    ('linear', True, False, False): dict(mode='bilinear', align_corners=True),
    ('nearest', False, False, False): dict(mode='nearest'),
    ('nearest', False, False, True): dict(mode='nearest-exact'),
}
RANDOM = ('Dropout',)  # not computed ahead
WARM_UP = 3  # runs before one is recorded: libraries choose their kernels in the first ones


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


# The project's batch norm in training on a CPU is two functions, of which PyTorch's is the second.
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
    form = RESIZING.get((mode, align_corners, half_pixel, half_pixel_for_nn))
    _refuse_if(channel_last or form is None, 'Interpolate')
    return F.interpolate(x, tuple(output_size), **form)


@_function('SoftmaxCrossEntropy')
def _softmax_cross_entropy(x, label, *, axis):
    _refuse_if(axis != 1, 'SoftmaxCrossEntropy')
    return F.cross_entropy(x, label[:, 0].long(), reduction='none', ignore_index=-1)[:, None]


def _refuse_if(condition, kind):
    if condition:
        raise ValueError(f'{kind} of this form has no counterpart in PyTorch here')


class TorchGraph:
    """The functions of a graph, and the tensors that they start from.

    train: parameters have gradients. channels_last: maps and kernels lie in memory as (N, H, W, C).
    """

    def __init__(self, folder, device='cpu', channels_last=False, train=False):
        folder = Path(folder)
        document = json.loads((folder / 'graph.json').read_text())
        unknown = {step['kind'] for step in document['functions']} - set(FUNCTIONS)
        if unknown:
            raise ValueError(f'no counterpart in PyTorch for {", ".join(sorted(unknown))}')
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
        """The outputs for tensors; every other result is freed after its last use."""
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
        """The functions that depend on an input; what the others compute is known from now on."""
        left, trained = [], {id(tensor) for tensor in self.trained}
        for each in functions:
            tensors = [self._known.get(key) for key in each['inputs']]
            depends = any(tensor is None or id(tensor) in trained for tensor in tensors)
            if depends or each['kind'] in RANDOM:
                left.append(each)
            else:
                value = FUNCTIONS[each['kind']](*tensors, **each['arguments'])
                self._known[each['outputs'][0]] = value.to(self._device)
        return left

    def _with_last_uses(self, functions):
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


class Recorded:
    """A graph on a GPU that is recorded in its first run, and launched as a whole from then on."""

    def __init__(self, graph):
        self._graph, self._recording = graph, None

    def __call__(self, x):
        """The outputs for a tensor on the GPU; the next run overwrites them."""
        if self._recording is None:
            self._record(x)
        self._input.copy_(x)
        self._recording.replay()
        return self._outputs

    def _record(self, x):
        self._input, stream = x.clone(), torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self._graph(self._input)
        torch.cuda.current_stream().wait_stream(stream)
        self._recording = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._recording):
            self._outputs = self._graph(self._input)


class Worker:
    """What the commands do; ``do`` names the method, the other keys are its arguments."""

    def start(
        self, folder, device, channels_last, precision, threads, form, mode, mean, std, swap
    ):  # fmt: skip
        """Load a graph. form: ``eager``, ``compiled`` by torch.compile in its ``mode``, or
        ``recorded`` as a CUDA graph. mean, std: of the pixels; swap: whether its input is RGB.
        """
        graph = self._load(folder, device, channels_last, precision, threads)
        self._run = {
            'eager': lambda: graph,
            'compiled': lambda: torch.compile(graph.__call__, mode=mode),
            'recorded': lambda: Recorded(graph),
        }[form]()
        self._mean, self._factor = (np.float32(mean), 1 / np.float32(std))
        self._swap = swap
        return self._version()

    def logits(self, input, output):
        """The first output for an array in a file, into another."""
        np.save(output, self._forward(torch.from_numpy(np.load(input)))[1])

    def turn(self, image, labels, least_seconds):
        """From a ``uint8`` BGR image (H, W, 3) to class indices (H, W), both in files, as often as
        fits into some seconds: of each run the seconds from input to logits, both in the memory of
        the host, and of all.
        """
        pixels, inner, whole = np.load(image), [], []
        while not whole or sum(whole) < least_seconds:
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
        """Load the graph of a loss of its own tensors, to be trained by gradient descent; in half
        precision the loss is scaled.
        """
        self._run = self._load(folder, device, channels_last, precision, threads, train=True)
        self._solver = torch.optim.SGD(self._run.trained, rate, momentum, 0, weight_decay)
        self._scaler = torch.amp.GradScaler(device, enabled=precision == 'float16')
        return self._version()

    def step(self):
        """The loss before an update, and its seconds."""
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
        """The most resident memory so far, in MiB."""
        lines = Path('/proc/self/status').read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith('VmHWM:')) / 1024

    def _load(self, folder, device, channels_last, precision, threads, train=False):
        torch.set_num_threads(threads)
        torch.backends.cudnn.allow_tf32 = False  # as in NNabla
        torch.backends.cudnn.benchmark = True  # the fastest kernels, found by trying
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
        """The first output, where it is computed, and copied to the host."""
        with torch.inference_mode(), self._precision:
            maps = self._run(x.to(self._device))[0].float()
            return maps, maps.cpu().numpy()


def main():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the one that asks, which ends us
    answers, worker = os.fdopen(os.dup(1), 'w', buffering=1), Worker()
    os.dup2(2, 1)  # whatever a library prints is no answer
    commands = queue.SimpleQueue()
    threading.Thread(target=listen, args=(sys.stdin, commands), daemon=True).start()
    while True:
        try:
            command = json.loads(commands.get())
            if torch is None:
                raise ModuleNotFoundError('torch is not installed')
            answer = {'answer': getattr(worker, command.pop('do'))(**command)}
        except Exception as error:
            traceback.print_exc()
            answer = {'error': f'{type(error).__name__}: {error}'}
        with suppress(BrokenPipeError):  # the listener ends this process
            print(json.dumps(answer), file=answers)


def listen(lines, commands):
    """Pass on what is asked; end the process with whoever asks."""
    for line in lines:
        commands.put(line)
    os._exit(0)


if __name__ == '__main__':
    main()
