"""The sampler: every sample once per epoch over all ranks, in an order that the seed determines."""

import pytest

from common.errors import UserError
from datasets.loading.sampler import Sampler, SamplerState


def test_ranks_use_every_sample_once_per_epoch():
    """Neither batches nor ranks need to divide the number of samples.

    After any number of common steps, all samples have been used equally often, except in one
    unfinished epoch.
    """
    for count, batch_size, ranks in [(10, 3, 1), (10, 3, 2), (7, 2, 3), (3, 4, 2), (12, 3, 2)]:
        samplers = [Sampler(count, batch_size, 1, rank=r, ranks=ranks) for r in range(ranks)]
        states, seen = [SamplerState()] * ranks, []
        for _ in range(25):
            for rank, sampler in enumerate(samplers):
                _, samples, states[rank] = sampler.next_batch(states[rank])
                assert len(samples) == batch_size
                seen += samples
            assert len(set(states)) == 1, 'the ranks must agree on the position'
        epochs = len(seen) // count
        assert len(set(seen)) == len(seen)
        for epoch in range(epochs):
            assert sorted(i for e, i in seen if e == epoch) == list(range(count))


def test_every_epoch_has_its_own_order():
    sampler = Sampler(50, 1, seed=3)
    epochs = [[sampler.sample(50 * e + i)[1] for i in range(50)] for e in range(3)]
    assert epochs[0] != epochs[1] != epochs[2] != sorted(epochs[2])
    assert Sampler(50, 1, seed=4).sample(0)[1] != sampler.sample(0)[1]
    plain = Sampler(5, 1, seed=3, shuffle=False)
    assert [plain.sample(i) for i in range(6)] == [(0, i) for i in range(5)] + [(1, 0)]


def test_batches_of_all_ranks_have_distinct_numbers():
    """The random draws of a batch depend on its number; portraits and landscapes may alternate."""
    for is_portrait in (None, lambda index: index % 3 == 0):
        samplers = [Sampler(10, 3, 1, rank=r, ranks=3, is_portrait=is_portrait) for r in range(3)]
        numbers, states = [], [SamplerState()] * 3
        for _ in range(20):
            for rank, sampler in enumerate(samplers):
                number, _, states[rank] = sampler.next_batch(states[rank])
                numbers.append(number)
        assert numbers == list(range(60))


@pytest.mark.parametrize(
    'change',
    [
        {'batches': -1},
        {'batches': 1.0},
        {'cursor': 2**63},
        {'cursor': None},
        {'cursor': True},
        {'waiting': None},
        {'waiting': [[]]},
        {'waiting': [[], 'x']},
        {'waiting': [[1], [7]]},
        {'waiting': [[[1]], []]},
    ],
    ids=str,
)
def test_a_position_of_another_type_or_range_is_refused(change):
    plain = {'batches': 2, 'cursor': 7, 'waiting': [[1, 3], [6]], 'further': None}
    assert SamplerState.of(plain) == SamplerState(2, 7, ((1, 3), (6,)))
    with pytest.raises(UserError, match='no position in a training; start a new run'):
        SamplerState.of(plain | change)
