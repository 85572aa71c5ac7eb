"""Batches are a pure function of (seed, step) and contain every example once per epoch."""

import numpy as np
import pytest

from scorekit.data import batch_at, streams

DATA = {"x": np.arange(10.0).reshape(10, 1), "label": np.arange(10)}


def labels(steps, batch_size, seed=0, data=DATA):
    return np.concatenate([batch_at(data, seed=seed, step=s, batch_size=batch_size)["label"] for s in steps])


@pytest.mark.parametrize("batch_size", [1, 3, 4, 10, 25])
def test_every_epoch_is_a_permutation_for_any_batch_size(batch_size):
    stream = labels(range(-(-100 // batch_size)), batch_size)[:100].reshape(10, 10)
    np.testing.assert_array_equal(np.sort(stream, axis=1), np.tile(np.arange(10), (10, 1)))
    assert len({tuple(epoch) for epoch in stream}) == 10  # epochs are shuffled differently


def test_sequence_of_examples_does_not_depend_on_the_batch_size():
    np.testing.assert_array_equal(labels(range(12), 5), labels(range(3), 20))


def test_batches_do_not_depend_on_earlier_calls():
    in_order = [labels([s], 4) for s in range(8)]
    for s in (6, 1, 7, 0):
        streams._order.cache_clear()
        np.testing.assert_array_equal(labels([s], 4), in_order[s])


def test_epoch_order_is_that_of_numpy():
    np.testing.assert_array_equal(labels([2], 10, seed=5), np.random.default_rng((5, 2)).permutation(10))


def test_batches_are_aligned_copies():
    batch = batch_at(DATA, seed=3, step=1, batch_size=4)
    np.testing.assert_array_equal(batch["x"][:, 0], batch["label"])
    batch["x"][:] = -1
    np.testing.assert_array_equal(DATA["x"][:, 0], np.arange(10))


def test_seeds_differ_and_large_steps_work():
    assert not np.array_equal(labels([0], 10, seed=0), labels([0], 10, seed=1))
    assert batch_at(DATA, seed=2**40, step=10**12, batch_size=4)["label"].shape == (4,)
