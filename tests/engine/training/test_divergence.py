"""Loss, gradients or weights that are not finite: the step raises an error that names them."""

import nnabla as nn
import numpy as np
import pytest

import datasets
from common.errors import UserError
from datasets.loading import augmentations
from datasets.loading.loader import Loader
from engine.distributed.communicators import SingleProcessCommunicator
from engine.distributed.processes import Processes
from engine.inference.predictor import Predictor
from engine.training.divergence import DivergedError
from support import mpi_training
from support.small_trainers import (
    CONFIG,
    RepeatingLoader,
    batches,
    make_trainer,
    rooted,
    small_network,
    values,
)


def test_the_error_names_the_files_of_the_batch(tmp_path):
    mpi_training.write_data(tmp_path)
    split = datasets.open('folder', tmp_path, 'train')
    network = small_network()
    config = {**CONFIG, 'image_height': 24, 'image_width': 40}
    info = network.info
    transform = augmentations.create(config)
    loader = Loader(split, transform, 2, info.mean, info.std, workers=0)
    trainer = make_trainer(network, config, loader)
    trainer.step()
    nn.get_parameters()['main/conv/b'].d = np.inf
    with pytest.raises(UserError, match='the loss of iteration 2 is not finite') as caught:
        trainer.step()
    assert all(str(sample.image) in str(caught.value) for sample in loader.samples)
    with pytest.raises(UserError, match='parameter .* is not finite after iteration 1'):
        trainer.state()


def test_weights_that_are_not_finite_are_detected_with_a_finite_loss():
    """NNabla's ReLU turns NaN into 0."""
    trainer = make_trainer(
        small_network(), {**CONFIG, 'max_iter': 1000}, RepeatingLoader(*batches())
    )
    assert np.isfinite(trainer.step().loss)
    weights = values()['conv1/conv/W']
    weights[0] = np.nan
    nn.get_parameters()['conv1/conv/W'].d = weights
    with pytest.raises(UserError, match='conv1/conv/W is not finite in iteration 2 '):
        trainer.step()


def test_gradients_that_are_not_finite_change_no_weight():
    """The loss is finite, the gradient of a square root at 0 is not."""
    trainer = make_trainer(
        small_network(rooted), {**CONFIG, 'max_iter': 1000}, RepeatingLoader(*batches())
    )
    before = values()
    with pytest.raises(UserError, match='the gradient of .* is not finite in iteration 1'):
        trainer.step()
    assert all(np.array_equal(before[name], array) for name, array in values().items())


def test_gradients_whose_norm_overflows_change_no_weight():
    """The gradients themselves and the loss are finite."""
    network = mpi_training.network('plain')
    Predictor(network)
    images, labels = batches()[0]
    config = {**CONFIG, 'clip_norm': 1.0}
    trainer = make_trainer(network, config, RepeatingLoader((images * 1e25, labels)))
    before = values()
    with pytest.raises(DivergedError, match='the norm of the gradients of iteration 1 is not'):
        trainer.step()
    assert all(np.array_equal(array, before[name]) for name, array in values().items())


def test_a_sum_of_finite_losses_that_overflows():
    class TooLarge(SingleProcessCommunicator):
        def total(self, array):
            return array + [np.inf, 0, 0] if array.shape == (3,) else array

    trainer = make_trainer(small_network(), CONFIG, RepeatingLoader(*batches()))
    trainer._communicator = TooLarge(Processes())
    with pytest.raises(DivergedError, match='the loss of each process is finite, their sum is not'):
        trainer.step()
