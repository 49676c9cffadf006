"""Recognition and conversion of out-of-memory errors."""

import errno
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from common import PROJECT
from common.errors import InputError, UserError
from common.memory import is_memory_error, memory_errors_as


class RuntimeSpecificError(Exception):
    """Like ONNX Runtime's errors, which have no common base class."""


def opencv(code):
    error = cv2.error('OpenCV(4.0.0) alloc.cpp:73: error: (-4) in function OutOfMemoryError')
    error.code = code
    return error


@pytest.mark.parametrize(
    'error, expected',
    [
        (MemoryError(), True),
        (RuntimeError('Failed to allocate memory for requested buffer of size 1'), True),
        (RuntimeSpecificError('CUDA failure 2: out of memory'), True),
        (RuntimeSpecificError('cudaErrorOutOfMemory'), True),
        (RuntimeError('[GENERAL_ERROR] Check failed'), False),
        (opencv(cv2.Error.StsNoMem), True),
        (opencv(cv2.Error.StsAssert), False),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), True),
        (FileNotFoundError(errno.ENOENT, 'No such file', 'allocated.png'), False),
        (InputError('allocated.png: cannot be read'), False),
        (KeyError('allocation'), False),
    ],
)
def test_out_of_memory_errors_are_recognised(error, expected):
    assert is_memory_error(error) == expected


def test_a_real_out_of_memory_error_is_converted():
    with pytest.raises(MemoryError) as caught, memory_errors_as(MemoryError):
        np.empty(1 << 60, np.uint8)
    assert caught.value.__cause__ is None  # not converted: it already is one
    one_line = 'too large; take a smaller one'
    with pytest.raises(InputError) as caught, memory_errors_as(InputError, one_line):
        np.empty(1 << 60, np.uint8)
    assert str(caught.value) == one_line
    assert isinstance(caught.value.__cause__, MemoryError)


def test_an_out_of_memory_error_of_opencv_is_converted():
    """A child process has so little memory that OpenCV fails to allocate an image."""
    program = (
        'import resource, numpy as np, cv2\n'
        'from common.errors import UserError\n'
        'from common.memory import memory_errors_as\n'
        'image = np.zeros((9, 9), np.uint8)\n'
        'resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))\n'
        'with memory_errors_as(UserError, "too large"):\n'
        '    cv2.copyMakeBorder(image, 0, 10**5, 0, 10**5, cv2.BORDER_REPLICATE)\n'
    )
    child = subprocess.run([sys.executable, '-c', program], cwd=PROJECT, stderr=subprocess.PIPE,
                           text=True)  # fmt: skip
    assert child.stderr.rstrip().endswith('UserError: too large'), child.stderr


def test_the_original_message_is_the_default():
    with pytest.raises(MemoryError) as caught, memory_errors_as(MemoryError):
        raise RuntimeError('malloc failed')
    assert str(caught.value) == 'malloc failed'
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize(
    'error', [RuntimeError('[x] Check failed'), UserError('no GPU'), KeyError()]
)
def test_other_exceptions_are_not_converted(error):
    with pytest.raises(type(error)) as caught, memory_errors_as(UserError, 'too large'):
        raise error
    assert caught.value is error
