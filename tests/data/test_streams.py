"""Batches of sources of any size: a function of the seed and position, whoever reads them, and broken examples."""

import collections
import itertools
import threading

import numpy as np
import pytest

from scorekit.data import local_rows, stream
from scorekit.data.streams import _row_at as row_at


class Counting:
    """N examples that count how often each is read; those in ``broken`` cannot be."""

    def __init__(self, n, broken=()):
        self.n, self.broken, self.reads, self.lock = n, set(broken), collections.Counter(), threading.Lock()

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        with self.lock:
            self.reads[index] += 1
        if index in self.broken:
            raise ValueError(f"{index}.png is damaged")
        return {"x": np.full((2, 1), index, np.int64), "label": np.int32(index % 3), "caption": f"number {index}"}


class Several(Counting):
    def __getitems__(self, indices):
        return [self[index] for index in indices]


def take(batches, count):
    with batches:
        return list(itertools.islice(batches, count))


def rows(batches):
    return np.concatenate([batch["x"][:, 0, 0] for batch in batches])


def test_every_epoch_holds_every_example_once_in_an_order_of_its_own():
    found = rows(take(stream(Counting(37), seed=1, batch_size=10), 11)).tolist()  # almost three epochs
    epochs = [found[i : i + 37] for i in (0, 37)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(37))] * 2
    assert epochs[0] != epochs[1]
    assert len(set(found[74:])) == 36
    other = rows(take(stream(Counting(37), seed=2, batch_size=37), 1)).tolist()
    assert other not in epochs  # seed 2 does not begin with the second epoch of seed 1
    assert found == [row_at(1, i, 37) for i in range(110)]


@pytest.mark.parametrize("source", [Counting, Several])
def test_fields_are_stacked_in_the_order_of_the_rows(source):
    (batch,) = take(stream(source(9), seed=0, batch_size=4), 1)
    wanted = [row_at(0, i, 9) for i in range(4)]
    assert batch["x"].shape == (4, 2, 1)
    assert batch["label"].dtype == np.int32
    assert batch["label"].tolist() == [row % 3 for row in wanted]
    assert batch["caption"].tolist() == [f"number {row}" for row in wanted]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_processes_read_the_rows_of_one_sequence(workers):
    whole = take(stream(Counting(23), seed=5, batch_size=8, workers=0), 5)
    for count in (2, 4):
        parts = [
            take(stream(Counting(23), seed=5, batch_size=8, process_index=p, process_count=count, workers=workers), 5)
            for p in range(count)
        ]
        for step, batch in enumerate(whole):
            joined = {name: np.concatenate([part[step][name] for part in parts]) for name in batch}
            for name, value in batch.items():
                np.testing.assert_array_equal(joined[name], value)


@pytest.mark.parametrize("consumed", [0, 8, 21, 23, 10**12])
def test_a_stream_continues_at_any_position_without_reading_what_went_before(consumed):
    source = Counting(23)
    with stream(source, seed=5, batch_size=8, start=consumed, workers=0) as batches:
        found = rows([next(batches), next(batches)]).tolist()
        assert batches.position == consumed + 16
    assert found == [row_at(5, consumed + i, 23) for i in range(16)]
    assert source.reads.total() == 17  # and the first example, for its layout


def test_only_the_batches_in_use_are_held():
    source = Several(100_000)
    with stream(source, seed=0, batch_size=10, workers=3) as batches:
        for step in range(1, 31):
            next(batches)
            assert source.reads.total() <= 1 + 10 * (step + 3)
    assert source.reads.total() <= 1 + 10 * 34


def test_a_transform_is_applied_to_each_example():
    double = lambda example: {"y": 2.0 * example["x"]}
    (batch,) = take(stream(Counting(5), seed=0, batch_size=5, transform=double), 1)
    assert sorted(batch["y"][:, 0, 0]) == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("source", [Counting, Several])
def test_a_broken_example_ends_the_stream_at_its_batch(source):
    bad = row_at(0, 13, 23)
    batches = stream(source(23, {bad}), seed=0, batch_size=5)
    next(batches), next(batches)
    for _ in range(2):  # and again if it is asked again
        with pytest.raises(ValueError, match=rf"^source\[{bad}\]: {bad}.png is damaged$"):
            next(batches)
        assert batches.position == 10
    batches.close()


@pytest.mark.parametrize("source", [Counting, Several])
def test_broken_examples_are_replaced_by_the_next_good_row(source):
    broken = {0, 7, 8, 22}
    wanted = [
        next(r % 23 for r in range(row, row + 23) if r % 23 not in broken)
        for row in (row_at(3, i, 23) for i in range(48))
    ]
    batches = stream(source(23, broken), seed=3, batch_size=8, on_error="skip")
    with pytest.warns(UserWarning, match=r"^4 examples could not be read .*png is damaged; .*png is damaged; …$"):
        assert rows(take(batches, 6)).tolist() == wanted
    assert sorted(batches.skipped) == sorted(broken)
    batches.close()  # again: it has warned already
    later = stream(source(23, broken), seed=3, batch_size=8, on_error="skip", start=24, process_count=2, workers=1)
    with pytest.warns(UserWarning, match="could not be read"):
        assert rows(take(later, 3)).tolist() == [w for i in (24, 32, 40) for w in wanted[i : i + 4]]


def test_a_source_of_broken_examples_is_an_error_even_when_they_are_skipped():
    with pytest.raises(ValueError, match=r"^source must have examples that can be read; 5 from 0 on have none, fi"):
        stream(Counting(5, range(5)), seed=0, batch_size=2, on_error="skip")


def test_an_example_of_another_layout_is_broken_and_a_mistake_in_a_transform_is_not():
    odd = [{"x": np.zeros(3 if i == 4 else 2)} for i in range(6)]
    with pytest.raises(ValueError, match=r"source\[4\]: example 4 has {'x': 'float64\(3,\)'}, the first one {'x': "):
        take(stream(odd, seed=0, batch_size=6), 1)
    with pytest.warns(UserWarning, match="^1 examples could not"):
        assert take(stream(odd, seed=0, batch_size=6, on_error="skip"), 1)[0]["x"].shape == (6, 2)
    with pytest.raises(KeyError):
        stream(odd, seed=0, batch_size=6, transform=lambda example: example["y"], on_error="skip")


def test_rows_are_divided_among_processes_and_a_stream_starts_anywhere():
    assert next(stream([{"x": 1.0}], seed=0, batch_size=1, start=2**62 - 1, workers=0))["x"] == 1
    assert [local_rows(8, p, 4) for p in range(4)] == [slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 8)]
