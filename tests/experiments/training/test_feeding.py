"""Batches reach the step in order, from any step, checked, and their source is closed; waiting is measured."""

import itertools
import time

import numpy as np
from ml_collections import ConfigDict
from programs import error_of

from experiments.training.agreement import LAG, Agreement
from experiments.training.feeding import Waiting, feed

CONFIG = ConfigDict({"seed": 3, "training": {"steps": 5, "batch_size": 2}})


class Numbers:
    """Batches of their step; remembers which were read and whether it was closed."""

    def __init__(self, broken=None):
        self.broken, self.closed, self.read = broken, False, []

    def batches(self, seed, first, size, index, count):
        assert (seed, size, index, count) == (3, 2, 0, 1)
        try:
            for step in itertools.count(first):
                self.read.append(step)
                yield {"x": np.full((size, 1), np.nan if step == self.broken else step, np.float32)}
        finally:
            self.closed = True


def test_batches_come_in_order_from_the_first_step_to_the_last():
    numbers = Numbers()
    with feed(CONFIG, numbers, 2, lambda batch: batch) as batches:
        found = list(batches)
    assert [float(batch["x"][0, 0]) for batch in found] == [2, 3, 4]
    np.testing.assert_allclose([batch["progress"][0] for batch in found], [0.5, 0.75, 1.0])
    assert numbers.read == [2, 3, 4]  # none is read that no step takes
    assert numbers.closed


def test_an_unfinished_feed_closes_its_source():
    numbers = Numbers()
    with feed(CONFIG, numbers, 0, lambda batch: batch) as batches:
        next(batches)
    assert numbers.closed


def test_a_batch_that_is_not_finite_is_named():
    with feed(CONFIG, Numbers(broken=1), 0, lambda batch: batch) as batches:
        next(batches)
        assert "x of 2 of 2 examples of batch 2 is not finite" in error_of(next, batches)


def test_waiting_leaves_out_what_was_before_the_first_step():
    class Batches:
        waited = 5.0

    batches = Batches()
    clock = Waiting(batches)
    assert clock.sentence() == "waited for data 0.0% of the time"
    clock.start()
    time.sleep(0.2)
    batches.waited += 0.1
    clock.start()
    clock.stop()
    share = float(clock.sentence().split()[3].rstrip("%"))
    assert 20 < share <= 50


class Several(Agreement):
    """As in one of several processes."""

    def __init__(self):
        super().__init__()
        self._several = True


def test_a_signal_travels_with_the_rows_and_counts_some_steps_later():
    agreement = Several()
    prepare, loss = agreement.wrap(lambda key, batch: {"y": batch["x"]}, lambda params, batch: (batch["y"], {}))
    stopped = []
    for step in range(6):
        mine = agreement.mark({"x": np.zeros(2)}, None)
        other = agreement.mark({"x": np.zeros(2)}, 15 if step == 1 else None)
        rows = {name: np.concatenate([mine[name], other[name]]) for name in mine}
        value, aux = loss(None, prepare(None, rows))
        assert value.shape == (4,)
        stopped.append(agreement.after({"aux": aux}, None))
    assert stopped == [None] * (1 + LAG) + [15] + [None] * (6 - 2 - LAG)


def test_with_one_process_nothing_travels():
    agreement, functions = Agreement(), (object(), object())
    assert agreement.wrap(*functions) == functions
    assert agreement.mark({"x": np.zeros(2)}, 15).keys() == {"x"}
    assert agreement.at_the_end(15) == 15
