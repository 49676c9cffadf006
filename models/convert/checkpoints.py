"""Read and write checkpoint files of the PyTorch ecosystem, without PyTorch.

A format is recognised by the content of a file, not by the file's name:

    torch.save    models.convert.saved_objects; a zip archive, or pickles and storages
    safetensors   models.convert.safetensors
    numpy         models.convert.npz
"""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from common import files
from common.errors import UserError
from common.reading.finite import non_finite
from common.terminal.short_repr import short_text
from models.convert import archives, npz, safetensors, saved_objects
from models.convert.tensors import Tensor
from models.errors import ModelError, UnsupportedFormatError

ZIP_MAGIC = b'PK\x03\x04'
HDF5_MAGIC = b'\x89HDF'
WRITABLE_SUFFIXES = ('.npz', '.safetensors')
MAX_REASON_LENGTH = 300  # characters
# Arrays can be larger than their file: as float32 four times, and far more if tensors share
# storages or were compressed. A network with two names for each of its arrays is within this.
MAX_EXPANSION = 16  # bytes of arrays for each byte of the file
SPARE_BYTES = 1 << 29


def read(path: str | os.PathLike[str]) -> object:
    """Read a checkpoint without executing code that it contains.

    Time and memory are linear in the size of the file.

    Args:
        path: The checkpoint file.

    Returns:
        The saved object: usually dictionaries of :class:`Tensor` and plain values. The numbers of a
        tensor are read on demand. Items of dictionaries whose keys are not text are left out.

    Raises:
        ModelError: The file is missing, unreadable, damaged, or of an unsupported format.
    """
    path = Path(path)
    try:
        if files.kind_of(path) != 'file':
            raise UnsupportedFormatError('no such file')
        with open(path, 'rb') as file:
            size = os.fstat(file.fileno()).st_size
            if not size:
                raise ModelError('the file is empty')
            return _read(file, size, path)
    except PermissionError as error:
        raise ModelError(f'{path}: cannot be read ({error.strerror})') from error
    except UnsupportedFormatError as error:
        raise ModelError(f'{path}: cannot be converted ({_reason(error)})') from error
    except UserError as error:
        raise ModelError(
            f'{path}: cannot be converted ({_reason(error)}); download it again from where its '
            'author published it, or save the state_dict() again with torch.save'
        ) from error
    except Exception as error:  # a damaged file can raise anything
        raise ModelError(_damaged(path, error)) from error


def _damaged(path: str | os.PathLike[str], error: Exception) -> str:
    return f'{path}: truncated or damaged ({_reason(error)}); download or copy it again'


def _reason(error: Exception) -> str:
    """Return an error message, which may quote a file, as one line of limited length."""
    text = short_text(str(error), MAX_REASON_LENGTH)
    return ' '.join(text.split()) or type(error).__name__


def _read(file: BinaryIO, size: int, path: Path) -> object:
    start = file.read(512)
    file.seek(0)
    if start[:4] == HDF5_MAGIC:
        raise UnsupportedFormatError(
            'it is an HDF5 file, as NNabla writes; --to-pytorch converts such files'
        )
    if start[8:9] == b'{':
        return safetensors.read(file, size, path)
    if start[:4] == ZIP_MAGIC:
        archive, records = archives.opened(path)
        is_saved_object = saved_objects.is_saved_object(records)
        return (saved_objects.read_archive if is_saved_object else npz.read)(archive, records)
    if start[:1] == b'\x80':
        return saved_objects.read_legacy(file, size, path)
    if start[257:262] == b'ustar':
        raise UnsupportedFormatError(
            'it is a tar archive, of PyTorch before 0.1.10 or of tar itself; load it with '
            'torch.load and save it again, or unpack it'
        )
    raise UnsupportedFormatError(
        'its format is none of torch.save, safetensors and .npz; pass such a file'
    )


def read_arrays(
    tree: Mapping[str, Tensor], path: str | os.PathLike[str]
) -> dict[str, NDArray[np.float32]]:
    """Read the numbers of tensors that :func:`read` returned.

    Args:
        tree: Tensors by name.
        path: The file that the tensors come from.

    Returns:
        float32 arrays by name.

    Raises:
        ModelError: The file is damaged, its arrays would be much larger than the file, or an array
            has values that are not finite.
    """
    left = MAX_EXPANSION * os.stat(path).st_size + SPARE_BYTES
    result = {}
    for name, tensor in tree.items():
        left -= 4 * math.prod(tensor.shape)
        if left < 0:
            raise ModelError(
                f'{path}: cannot be converted (its tensors, up to {short_text(name)}, are much '
                'larger than the file); save them uncompressed, and each with a storage of its '
                'own: tensor.clone()'
            )
        try:
            result[name] = tensor.array()
        except Exception as error:  # a damaged file can raise anything
            raise ModelError(_damaged(path, error)) from error
        if problem := non_finite(result[name]):
            raise ModelError(
                f'{path}: {short_text(name)} has {problem}, as of a failed training; pass an '
                'earlier checkpoint'
            )
    return result


def is_checkpoint(path: Path) -> bool:
    """Return whether a file starts like a checkpoint that :func:`read` supports.

    Args:
        path: The file.

    Raises:
        OSError: The file cannot be read.
    """
    with open(path, 'rb') as file:
        start = file.read(16)
    return start[:4] in (ZIP_MAGIC, b'\x80\x02\x8a\n') or start[8:9] == b'{'


def write(path: Path, state: Mapping[str, NDArray[np.float32]]) -> None:
    """Write float32 arrays atomically: as ``.npz`` if this is the suffix, else as safetensors.

    Args:
        path: The file to write.
        state: Arrays by name.

    Raises:
        UserError: The file cannot be written.
    """
    with files.replacing(path) as temporary:
        if path.suffix == '.npz':
            np.savez(temporary, **state)
            return
        safetensors.write(temporary, state)
