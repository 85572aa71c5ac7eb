"""Asynchronous, atomic checkpoints; restoring skips broken ones."""

import contextlib
import gc
import json
import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from os import PathLike
from typing import Any, Literal, NamedTuple, cast

import jax
import orbax.checkpoint.experimental.v1 as ocp
from etils import epath
from jax.experimental import multihost_utils

from scorekit.arguments import NonNegativeInt, PositiveInt, checked
from scorekit.training._restoring import (
    BROKEN,
    Broken,
    absolute,
    context,
    fitting,
    quiet_orbax,
    read,
    record,
    set_aside,
    steps_in,
    warn_broken,
)
from scorekit.training._trees import from_nested, to_nested
from scorekit.typing import PyTree


class Restored(NamedTuple):
    """The result of :meth:`Checkpoints.restore_latest`.

    Attributes:
      step: step at which the state was saved.
      state: the train state.
      extra: the JSON saved with it.

    >>> Restored(step=10, state={}, extra={"epoch": 1}).extra
    {'epoch': 1}
    """

    step: int
    state: PyTree
    extra: dict[str, Any]


class Checkpoints:
    """The checkpoints of a run in one directory, ``directory/<step>``.

    A checkpoint holds the full train state (parameters, optimiser, averages, PRNG key, counters), its step, a checksum
    of every array, and a small JSON for the position in the data and other values of the caller. It is written in the
    background and gets its name only when complete; one that was renamed to another step counts as broken. The ``keep``
    newest and the ``keep_best`` best checkpoints are kept, others are deleted. Orbax's notices are not logged while the
    directory is open.

    Opening the directory deletes incomplete checkpoints of killed processes, so only one run may have it open;
    :func:`~scorekit.training.restoring.restore_params` may read at any time.

    Args:
      directory: folder of this machine or of a bucket (``gs://…``, ``s3://…``), created if missing.
      keep: number of newest checkpoints to keep.
      keep_best: number of best checkpoints to keep in addition.
      metric: name of the metric that ranks checkpoints; required if ``keep_best > 0``.
      mode: ``'min'`` if a smaller metric is better, ``'max'`` if a larger one is.

    >>> import tempfile, optax, jax.numpy as jnp
    >>> from scorekit.training import init_state
    >>> state = init_state(jax.random.key(0), {"w": jnp.ones(2)}, optax.sgd(0.1))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoints = Checkpoints(folder)
    ...     _ = checkpoints.save(10, state, extra={"epoch": 1})
    ...     checkpoints.wait()
    ...     steps, restored = checkpoints.steps(), checkpoints.restore_latest(state)
    ...     checkpoints.close()  # as does the end of a with statement
    >>> steps, restored.step, restored.extra, restored.state.params["w"]
    ([10], 10, {'epoch': 1}, Array([1., 1.], dtype=float32))
    """

    @checked
    def __init__(
        self,
        directory: str | PathLike,
        keep: PositiveInt = 3,
        *,
        keep_best: NonNegativeInt = 0,
        metric: str | None = None,
        mode: Literal["min", "max"] = "min",
    ):
        if keep_best and not metric:
            raise ValueError(f"metric must be the name of a metric when keep_best={keep_best}, got {metric!r}")
        sign = 1 if mode == "max" else -1

        def goodness(metrics):
            value = sign * metrics.get(metric, math.nan)
            return -math.inf if math.isnan(value) else value

        policies = ocp.training.preservation_policies
        latest = policies.LatestN(keep)
        best = policies.BestN(get_metric_fn=goodness, n=keep_best, keep_checkpoints_without_metrics=False)
        self._directory = absolute(directory)
        self._quiet = contextlib.ExitStack()
        self._quiet.enter_context(quiet_orbax())
        for step in steps_in(self._directory):  # orbax fails on unreadable metrics
            metrics = self._directory / str(step) / "metrics" / "metrics"
            try:
                json.loads(metrics.read_text())
            except (FileNotFoundError, NotADirectoryError):  # none, or another process has renamed it
                continue
            except (ValueError, IsADirectoryError) as error:
                _set_aside(metrics.parent.parent, error)
        self._checkpointer = ocp.training.Checkpointer(
            self._directory,
            context=context(),
            preservation_policy=cast(Any, policies.AnyPreservationPolicy([latest, best])),
            cleanup_tmp_directories=True,
        )
        self._ranked, self._saving = keep_best > 0, None

    @checked
    def save(
        self,
        step: NonNegativeInt,
        state: PyTree,
        metrics: Mapping[str, float] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> bool:
        """Starts saving in the background; returns once the state is copied, after which the caller may donate it.

        Args:
          step: name of the checkpoint; larger than all existing ones.
          state: the train state.
          metrics: scalars that rank checkpoints.
          extra: content of the JSON.

        Returns:
          False if a checkpoint of this or a later step exists; nothing is written then.
        """
        nested = to_nested(state)
        self.wait()  # orbax would delete old checkpoints without waiting for the one in progress
        if any(step <= there for there in self.steps()):
            return False
        with _writing(self._directory):
            self._saving = self._checkpointer.save_checkpointables_async(
                step,
                {"state": nested, "extra": record(step, nested, dict(extra or {}))},
                force=True,
                metrics={name: float(value) for name, value in (metrics or {}).items()} if self._ranked else None,
            )
        return self._saving is not None

    def wait(self) -> None:
        """Blocks until a save in progress is complete; raises its ``OSError``."""
        saving, self._saving = self._saving, None
        with _writing(self._directory):
            try:
                self._checkpointer.wait()
            finally:
                if saving is not None:
                    with contextlib.suppress(Exception):  # the same error, of another thread, which ends
                        saving.result()

    def steps(self) -> list[int]:
        """The steps with a complete checkpoint, after a save in progress, ascending."""
        self.wait()
        return [checkpoint.step for checkpoint in self._checkpointer.checkpoints]

    def restore_latest(self, like: PyTree) -> Restored | None:
        """Reads the newest readable checkpoint; None if there is none.

        If it is not the newest of all, the broken ones after it are renamed to ``broken-<step>``, with a warning each.

        Args:
          like: a state, or its shapes (``jax.eval_shape``), of the structure to restore. If its arrays have a sharding,
            the restored ones get the same.

        Raises:
          ValueError: for a state of another structure; the message lists the differences.
          FileNotFoundError: if there are checkpoints and none can be read; none is renamed.
        """
        self.wait()
        broken: dict[int, Broken] = {}
        for step in reversed(steps_in(self._directory)):
            try:
                nested, extra = read(self._directory / str(step), lambda saved: fitting(saved, like))
            except Broken as error:
                broken[step] = error
                continue
            for damaged, reason in broken.items():
                _set_aside(self._directory / str(damaged), reason)
            if broken:
                if jax.process_count() > 1:
                    multihost_utils.sync_global_devices("broken checkpoints are renamed")
                self._checkpointer.reload()
            return Restored(step, from_nested(nested, like), extra)
        found = [*map(str, broken), *set_aside(self._directory)]
        if found:
            reason = "".join(f" ({step}: {reason})" for step, reason in [*broken.items()][:1])
            raise FileNotFoundError(f"all checkpoints in {self._directory} are damaged: {', '.join(found)}{reason}")
        return None

    def close(self) -> None:
        """Waits for a save in progress, raises its ``OSError`` and closes the directory."""
        with self._quiet, _writing(self._directory):
            try:
                self.wait()
            finally:
                self._checkpointer.close()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def _set_aside(path, reason):
    """Renames a broken checkpoint, so that its step can be saved again."""
    broken = path.parent / f"{BROKEN}{path.name}"
    warn_broken(path, reason, f"it is renamed to {broken.name}")
    if jax.process_index() == 0:
        if broken.is_dir():
            broken.rmtree()
        path.replace(broken)


_OS_ERROR = re.compile(r"os_error_code='(\d+)'|OS error (\d+)")


@contextlib.contextmanager
def _writing(directory: epath.Path) -> Iterator[None]:
    """Turns the errors of orbax's writers that have a cause in the file system into an ``OSError`` that names it."""
    try:
        yield
        return
    except OSError as error:
        number, path = error.errno, error.filename or str(directory)
    except Exception as error:
        found = _OS_ERROR.search(str(error))
        if found is None:
            raise
        number, path = int(found[1] or found[2]), str(directory)
    with quiet_orbax():
        gc.collect()
        time.sleep(0.5)  # other arrays are still written; their callbacks fail, loudly if the interpreter has ended
    raise OSError(number, os.strerror(number or 0), path)
