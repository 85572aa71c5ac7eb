"""Batches reach the step in order, from any step, checked, and their source is closed; waiting is measured."""

import itertools
import time
from types import SimpleNamespace

import numpy as np
import pytest
from programs import error_of

from experiments.training.feeding import Clock, feed
from scorekit.training import make_mesh

SIZES = {"seed": 3, "batch_size": 8, "steps": 5}


class Numbers:
    """Batches of their step; remembers which were read and whether it was closed."""

    def __init__(self, broken=None):
        self.broken, self.closed, self.read = broken, False, []

    def batches(self, seed, first, size, index, count):
        assert (seed, size, index, count) == (3, 8, 0, 1)
        try:
            for step in itertools.count(first):
                self.read.append(step)
                yield {"x": np.full((size, 1), np.nan if step == self.broken else step, np.float32)}
        finally:
            self.closed = True


def test_batches_come_in_order_from_the_first_step_to_the_last():
    numbers = Numbers()
    with feed(numbers, make_mesh(), **SIZES, first=2) as batches:
        found = list(batches)
    assert [float(batch["x"][0, 0]) for batch in found] == [2, 3, 4]
    np.testing.assert_allclose([batch["progress"][0] for batch in found], [0.5, 0.75, 1.0])
    assert numbers.read == [2, 3, 4]  # none is read that no step takes
    assert numbers.closed


def test_a_batch_that_is_not_finite_is_named_and_the_source_closed():
    numbers = Numbers(broken=1)
    with feed(numbers, make_mesh(), **SIZES) as batches:
        next(batches)
        assert "x of 8 of 8 examples of batch 2 is not finite" in error_of(next, batches)
    assert numbers.closed


def test_the_clock_leaves_out_the_first_step_and_pauses():
    batches = SimpleNamespace(waited=5.0)
    clock = Clock(batches)
    clock.start(0.0)
    time.sleep(0.2)
    batches.waited += 0.1
    clock.start(0.0)
    with clock.paused(0.0):
        time.sleep(0.5)
    assert 0.2 <= clock.seconds < 0.5
    assert clock.waited == pytest.approx(0.1)
