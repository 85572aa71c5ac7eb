"""The next batches on their way to the device while the current step runs.

>>> with prefetch(iter([1, 2, 3]), lambda x: 10 * x) as items:
...     print(list(items), items.waited < 1.0, isinstance(items, Prefetch))
[10, 20, 30] True True
>>> prefetch(iter([1, 2]), float).close()
"""

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from scorekit.arguments import PositiveInt, checked

_T = TypeVar("_T")


@checked
def prefetch(iterator: Iterator[Any], place: Callable[[Any], _T], size: PositiveInt = 2) -> "Prefetch[_T]":
    """Applies ``place`` to the next items of an iterator in a background thread.

    At most ``size`` placed items wait for their use, one more is in use. An error in ``iterator`` or ``place`` is
    raised where its item would have been returned, after all earlier items. Leave the ``with`` statement of the
    iterator, or call ``close``, to end the thread.

    Args:
      iterator: items, such as a :class:`scorekit.data.Stream`, which the thread alone uses and closes.
      place: function of an item whose result is returned, such as ``jax.device_put``.
      size: placed items that wait at most.
    """
    if not hasattr(iterator, "__next__"):
        raise ValueError(f"iterator must be an iterator, got {iterator!r}")
    if not callable(place):
        raise ValueError(f"place must be a function of an item, got {place!r}")
    return Prefetch(iterator, place, int(size))


class Prefetch(Iterator[_T], Generic[_T]):
    """An iterator that a thread runs ahead of; see :func:`prefetch`.

    Its attribute ``waited`` holds the seconds that the consumer has waited for items so far.

    Args:
      iterator: items, such as a :class:`scorekit.data.Stream`, which the thread alone uses and closes.
      place: function of an item whose result is returned, such as ``jax.device_put``.
      size: placed items that wait at most.
    """

    def __init__(self, iterator: Iterator[Any], place: Callable[[Any], _T], size: int):
        self.waited = 0.0
        self._iterator, self._shared, self._done = iterator, _Shared(size), False
        work = (self._shared, iterator, place)  # not self: one that is forgotten unclosed ends its thread too
        self._thread = threading.Thread(target=_work, args=work, name="scorekit-prefetch", daemon=True)
        self._thread.start()
        weakref.finalize(self, self._shared.stop)

    def __next__(self) -> _T:
        if self._done:
            raise StopIteration
        start = time.perf_counter()
        try:
            item, error = self._shared.take()
        finally:
            self.waited += time.perf_counter() - start
        if error is not None:
            self._done = True
            raise error
        return item

    def close(self) -> None:
        """Ends the thread after the item that it is working on, and closes the iterator."""
        self._done = True
        self._shared.stop()
        self._thread.join()
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()

    def __enter__(self) -> "Prefetch[_T]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Shared:
    """Between the thread and the consumer: placed items with an error or None, and whether to stop."""

    def __init__(self, size: int):
        self._size, self._items, self._stopped = size, deque[tuple[Any, BaseException | None]](), False
        self._changed = threading.Condition()

    def put(self, item: Any, error: BaseException | None) -> None:
        with self._changed:
            self._items.append((item, error))
            self._changed.notify_all()

    def room(self) -> bool:
        """Waits until an item may be added; False to stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or len(self._items) < self._size)
            return not self._stopped

    def take(self) -> tuple[Any, BaseException | None]:
        with self._changed:
            self._changed.wait_for(lambda: self._items)
            self._changed.notify_all()
            return self._items.popleft()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()


def _work(shared: _Shared, iterator: Iterator[Any], place: Callable[[Any], Any]) -> None:
    while shared.room():
        try:
            item = place(next(iterator))
        except BaseException as error:  # StopIteration too: it ends the consumer's loop
            shared.put(None, error)
            return
        shared.put(item, None)
        del item
