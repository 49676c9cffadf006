"""Weights of NNabla, states of trainings, and files that are taken for weights."""

import io
import json
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx

from engine.runs import checkpoints
from engine.runs.checkpoints import TrainingState
from fuzz.inputs import Content, Reader, one_file
from fuzz.mutators import containers, hdf5, texts
from fuzz.readers.scratch import written
from models.class_table import ClassTable
from models.errors import ModelError
from models.weights import h5


def _arrays(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        'conv0/conv/W': rng.normal(size=(4, 3, 3, 3)).astype('f4'),
        'conv0/bn/gamma': rng.normal(size=(1, 4, 1, 1)).astype('f4'),
        'classifier/conv/b': rng.normal(size=(3,)).astype('f4'),
    }


def _weights(rng: np.random.Generator) -> list[Content]:
    arrays = _arrays(rng)
    contents = []
    for name, options in (('plain', {}), ('compressed', dict(compression='gzip', chunks=True))):
        buffer = io.BytesIO()
        with h5py.File(buffer, 'w') as file:
            for key, array in arrays.items():
                file.create_dataset(key, data=array, **options)
            file.attrs['nnseg_version'] = '0.3.0'
            file.attrs['input_mean'] = [0.1, 0.2, 0.3]
            file.attrs['input_std'] = [1.0, 2.0, 3.0]
            file.attrs['channel_order'] = 'rgb'
            file.attrs['class_names'] = json.dumps(['road', 'car', 'sky'])
            file.attrs['class_colours'] = json.dumps([[0, 0, 1], [0, 1, 0], [1, 0, 0]])
        contents.append(one_file(f'{name}.h5', buffer.getvalue(), partial(_has_all, arrays)))
    return contents


def _has_all(arrays: dict[str, np.ndarray], value: list[Any]) -> bool:
    found, _, classes = value
    same = all(np.array_equal(found[name], array) for name, array in arrays.items())
    return same and len(found) == len(arrays) and isinstance(classes, ClassTable)


def _read_weights(path: Path) -> list[Any]:
    return [h5.read(path), h5.input_statistics(path), h5.class_table(path)]


def _states(rng: np.random.Generator) -> list[Content]:
    arrays = _arrays(rng)
    state = TrainingState(
        iteration=8,
        parameters=arrays,
        solver={'m/conv0/conv/W': arrays['conv0/conv/W'] / 2, 't': np.array(2**40)},
        average=None,
        loader={'epoch': 3, 'order': [2, 0, 1]},
        loss_scale=None,
        best={'miou': 55.5, 'iteration': 4},
        seed=7,
        config={'network': 'd3net', 'lr': 0.01},
        processes=1,
        options={'-t': 'half'},
        versions={'nnabla': '1.39.0'},
    )
    data = written('state.h5', lambda path: checkpoints.save(path, state))

    def right(value: list[Any]) -> bool:
        loaded = value[0]
        same = all(np.array_equal(loaded.parameters[name], arrays[name]) for name in arrays)
        return same and loaded.loader == state.loader and loaded.iteration == state.iteration

    return [one_file('state.h5', data, right)]


def _read_state(path: Path) -> list[Any]:
    return [checkpoints.load(path), checkpoints.load_facts(path)]


def _foreign(rng: np.random.Generator) -> list[Content]:
    """Return files of other programs, which are refused as weights; a valid one is no exception."""
    nodes = [onnx.helper.make_node('Relu', ['x'], ['y'])]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes, 'g', [value('x', 1, [1, 3, 8, 8])], [value('y', 1, [1, 3, 8, 8])]
    )
    model = onnx.helper.make_model(graph)
    onnx.helper.set_model_props(model, {'weights': 'D3Net-S.h5'})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        archive.writestr(zipfile.ZipInfo('metadata.json'), json.dumps({'weights': 'D3Net-S.h5'}))
        archive.writestr(zipfile.ZipInfo('network.nntxt'), 'executor {}')
    facts = json.dumps({'weights': 'D3Net-S.h5'}).encode()

    def right(value: str) -> bool:
        return 'D3Net-S.h5' in value

    def protobuf(value: str) -> bool:
        return 'nn.load_parameters' in value

    onnx_file = one_file('model.onnx', model.SerializeToString(), right)
    return [
        onnx_file,
        one_file('model.nnp', buffer.getvalue(), right),
        Content(
            {'model.nnb': b'NNB', 'model.nnb.json': facts},
            'model.nnb.json',
            'model.nnb',
            right,
            True,
        ),
        one_file('params.protobuf', model.SerializeToString(), protobuf),
    ]


def _read_foreign(path: Path) -> str:
    """Return the message that explains such a file, which ``h5.read`` raises."""
    try:
        h5.read(path)
    except ModelError as error:
        if 'exported' in str(error) or 'protobuf' in str(error):
            return str(error).replace(str(path), path.name)
        raise
    raise AssertionError('it was read as weights')


READERS = (
    Reader('h5', _weights, _read_weights, hdf5.OF_HDF5, share=6),
    Reader('state', _states, _read_state, hdf5.OF_HDF5, has_checksums=True, share=2),
    Reader(
        'foreign_weights', _foreign, _read_foreign, (*containers.OF_ZIP, *texts.OF_JSON), share=2
    ),
)
