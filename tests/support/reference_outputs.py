"""Outputs of each network family by the names that the reference fixtures use.

Each function builds a graph and returns the output Variables by name. ``*_evaluation`` builds the
graph of the fixtures' cases, ``*_training`` the graph with batch statistics and without dropout.
"""

import nnabla.functions as F

from common.tasks import CLASSES
from layers import functions as L

DABNET_NAMES = ('logits_lowres', 'aux0_logits_lowres', 'aux1_logits_lowres')
DDRNET_NAMES = ('logits', 'aux_logits')


def csail_evaluation(network, x):
    outputs = network(x, aux=True)
    probabilities = F.softmax(L.resize(outputs[0], x.shape[2:]), axis=1)
    return _csail_training_path(outputs) | {'prob': probabilities}


def csail_training(network, x):
    return _csail_training_path(network(x, train=True, dropout=False))


def _csail_training_path(outputs):
    """Return the logits and the log-softmax that the reference's training path returns."""
    main, *auxiliary = outputs
    result = {'logits_lowres': main, 'log_prob': F.log_softmax(main, axis=1)}
    for logits in auxiliary:
        result |= {'logits_deepsup': logits, 'log_prob_deepsup': F.log_softmax(logits, axis=1)}
    return result


def dabnet_evaluation(network, x):
    outputs = dict(zip(DABNET_NAMES, network(x, aux=True)))
    logits = L.resize(outputs['logits_lowres'], x.shape[2:])
    return outputs | {'logits': logits, 'prob': F.softmax(logits, axis=1)}


def dabnet_training(network, x):
    return dict(zip(DABNET_NAMES, network(x, train=True, dropout=False)))


def ddrnet_evaluation(network, x):
    return dict(zip(DDRNET_NAMES, network(x, aux=True)))


def ddrnet_training(network, x):
    return dict(zip(DDRNET_NAMES, network(x, train=True)))


def edgeailite_evaluation(network, x):
    outputs = _edgeailite_upsampled(network(x), x)
    labels = F.max(outputs['logits'], axis=1, keepdims=True, only_index=True)
    return outputs | {'argmax': labels}


def edgeailite_training(network, x):
    return _edgeailite_upsampled(network(x, train=True, dropout=False), x)


def edgeailite_tasks_evaluation(network, x):
    outputs = edgeailite_tasks_training(network, x, train=False)
    for i, task in enumerate(network.info.tasks):
        if task.kind == CLASSES:
            logits = outputs[f'logits_{i}']
            outputs[f'argmax_{i}'] = F.max(logits, axis=1, keepdims=True, only_index=True)
    return outputs


def edgeailite_tasks_training(network, x, train=True):
    outputs = {}
    for i, output in enumerate(network(x, train=train, dropout=False)):
        outputs |= {f'{n}_{i}': y for n, y in _edgeailite_upsampled([output], x).items()}
        if network.info.tasks[i].range is not None:
            outputs[f'pred_unclamped_{i}'] = _input_of_clamp(output)
    return outputs


def _input_of_clamp(output):
    smallest = output.parent.inputs[0]
    assert (smallest.parent.info.type_name, output.parent.info.type_name) == (
        'MaximumScalar', 'MinimumScalar',
    )  # fmt: skip
    return smallest.parent.inputs[0]


def _edgeailite_upsampled(outputs, x):
    return {'pred_lowres': outputs[0], 'logits': L.resize(outputs[0], x.shape[2:])}
