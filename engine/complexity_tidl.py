"""Multiply-accumulates as TI's import tool counts them, of a graph here.

TIDL, the library that runs networks on TI's processors, prints a line ``Total Giga Macs`` when it
imports a model. More is counted there than convolutions: every output of other layers, too, and
what is merged into a convolution keeps its count.

Reference: tidl_import_common.cpp of TI's Processor SDK RTOS J721E 08.06.01.03
(tidl_j721e_08_06_00_10/ti_dl/utils/tidlModelImport), the functions TIDL_tfOutReshape* and
tidl_mergeBNInConvLayer. TexasInstruments/edgeai-benchmark, commit
b712c5e1489cabf378d7b4de58d53de06e3db290, edgeai_benchmark/sessions/basert_session.py takes the
number from that line.
"""

from dataclasses import dataclass

import nnabla.functions as F

from d3net import graph
from d3net import layers as L
from models import complexity
from models.registry import Network

ACTIVATIONS = ('ReLU', 'ReLU6')
NORMS = ('BatchNormalization',)
PER_OUTPUT = {  # multiply-accumulates for each number that a function of NNabla puts out
    **dict.fromkeys((*ACTIVATIONS, *NORMS), 1),
    'Add2': 1,
    'Concatenate': 1,
    'Interpolate': 4,  # the neighbours that bilinear resizing reads
    'Max': 1,  # the argmax, which puts out one number for a pixel
}


@dataclass(frozen=True)
class Export:
    """What of a network is counted; all end with the argmax over the classes.

    final_resize: logits are resized to the image's size before the argmax; else it is at their own.
    batch_norm: batch norms are counted; else they were folded into the convolutions before.
    activation: ReLUs are counted. normalisation: that of the image is counted, 1 for each number.
    """

    final_resize: bool
    batch_norm: bool = False
    activation: bool = True
    normalisation: bool = False


def count(network: Network, size: tuple[int, int], export: Export) -> int:
    """Multiply-accumulates of a network on one image of ``size = (height, width)``.

    Raises ``ModelError`` for a size that the network cannot take, and ``ValueError`` when the
    network has a function that :data:`PER_OUTPUT` does not have.
    """
    outlined = complexity.outline(network, size)
    logits = outlined.outputs[0]
    if export.final_resize:
        logits = L.resize(logits, size)
    classes = F.max(logits, axis=1, only_index=True)
    order = graph.depending_on(outlined.image, graph.functions(classes))
    normalised = outlined.image.size if export.normalisation else 0
    return normalised + sum(_of(function, export) for function in order)


def _of(function, export: Export) -> int:
    kind = function.info.type_name
    if kind in graph.CONVOLUTIONS:
        return graph.multiply_accumulates(function)
    if kind not in PER_OUTPUT:
        raise ValueError(f'how TI counts {kind} is not in PER_OUTPUT')
    if (kind in NORMS and not export.batch_norm) or (kind in ACTIVATIONS and not export.activation):
        return 0
    return PER_OUTPUT[kind] * function.outputs[0].size
