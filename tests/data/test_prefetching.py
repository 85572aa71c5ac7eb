"""Items placed ahead of use by a thread."""

import gc
import itertools
import threading
import time

import pytest

from scorekit.data import prefetch


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "scorekit-prefetch"]


def wait_until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_items_are_placed_in_order_by_another_thread():
    places = []
    with prefetch(iter(range(5)), lambda x: places.append(threading.current_thread()) or 2 * x) as items:
        assert list(items) == [0, 2, 4, 6, 8]
        assert next(items, None) is None
    assert threading.current_thread() not in places
    assert not threads()


@pytest.mark.parametrize("size", [1, 3])
def test_at_most_size_items_wait(size):
    made = []
    with prefetch(itertools.count(), lambda x: made.append(x) or x, size) as items:
        for used in range(4):
            wait_until(lambda used=used: len(made) == used + size)
            time.sleep(0.01)
            assert len(made) == used + size
            assert next(items) == used


@pytest.mark.parametrize("in_place", [False, True])
def test_an_error_is_raised_where_its_item_would_be(in_place):
    def source():
        for i in range(5):
            if i == 2 and not in_place:
                raise OSError("the disk is gone")
            yield i

    def place(x):
        if x == 2 and in_place:
            raise OSError("the disk is gone")
        return x

    with prefetch(source(), place) as items:
        time.sleep(0.02)  # the error is there before the items are asked for
        assert [next(items), next(items)] == [0, 1]
        with pytest.raises(OSError, match="the disk is gone"):
            next(items)
        with pytest.raises(StopIteration):
            next(items)
    assert not threads()


def test_leaving_early_ends_the_thread_and_closes_the_iterator():
    closed = []

    def source():
        try:
            yield from itertools.count()
        finally:
            closed.append(True)

    with prefetch(source(), lambda x: x) as items:
        next(items)
    assert closed
    assert not threads()
    assert next(items, None) is None


def test_one_that_is_forgotten_ends_its_thread():
    items = prefetch(itertools.count(), lambda x: x)
    next(items)
    del items
    gc.collect(0)
    wait_until(lambda: not threads())


def test_waited_is_the_time_of_the_consumer():
    def slow():
        for i in range(3):
            time.sleep(0.05)
            yield i

    with prefetch(slow(), lambda x: x) as items:
        list(items)
        assert items.waited > 0.1
    placed = []
    with prefetch(iter(range(3)), lambda x: placed.append(x), size=4) as items:
        wait_until(lambda: len(placed) == 3)  # the step: meanwhile they are placed
        time.sleep(0.05)
        list(items)
        assert items.waited < 0.05
