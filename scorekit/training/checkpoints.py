"""Asynchronous, atomic checkpoints; restoring skips broken ones."""

import contextlib
import json
import math
from collections.abc import Mapping
from os import PathLike
from typing import Any, Literal, NamedTuple

import jax
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint.checkpoint_managers import preservation_policy

from scorekit.checks import check_count
from scorekit.training._trees import from_nested, to_nested
from scorekit.training.restoring import Broken, complete_steps, fitting, quiet_orbax, read, record, warn_broken
from scorekit.typing import PyTree


class Restored(NamedTuple):
    """The result of :meth:`Checkpoints.restore_latest`.

    Attributes:
      step: step at which the state was saved.
      state: the train state.
      extra: the JSON saved with it.
    """

    step: int
    state: PyTree
    extra: dict[str, Any]


class Checkpoints:
    """The checkpoints of a run in one directory, ``directory/<step>``.

    A checkpoint holds the full train state (parameters, optimiser, averages, PRNG key, counters), a checksum of every
    array, and a small JSON for the position in the data and other values of the caller. It is written in the background
    and gets its name only when complete. The ``keep`` newest and the ``keep_best`` best checkpoints are kept, others
    are deleted. Orbax's notices are not logged while the directory is open.

    Opening the directory deletes incomplete checkpoints of killed processes, so only one run may have it open;
    :func:`~scorekit.training.restoring.restore_params` may read at any time.

    Args:
      directory: created if missing.
      keep: number of newest checkpoints to keep, at least 1.
      keep_best: number of best checkpoints to keep in addition.
      metric: name of the metric that ranks checkpoints; required if ``keep_best > 0``.
      mode: ``'min'`` if a smaller metric is better, ``'max'`` if a larger one is.

    Raises:
      ValueError: if an argument is out of range.

    >>> import tempfile, optax, jax.numpy as jnp
    >>> from scorekit.training.state import init_state
    >>> state = init_state(jax.random.key(0), {"w": jnp.ones(2)}, optax.sgd(0.1))
    >>> with tempfile.TemporaryDirectory() as folder, Checkpoints(folder) as checkpoints:
    ...     _ = checkpoints.save(10, state, extra={"epoch": 1})
    ...     restored = checkpoints.restore_latest(state)
    >>> restored.step, restored.extra, restored.state.params["w"]
    (10, {'epoch': 1}, Array([1., 1.], dtype=float32))
    """

    def __init__(
        self,
        directory: str | PathLike,
        keep: int = 3,
        *,
        keep_best: int = 0,
        metric: str | None = None,
        mode: Literal["min", "max"] = "min",
    ):
        check_count(keep=keep)
        check_count(0, keep_best=keep_best)
        if keep_best and not metric:
            raise ValueError(f"metric must be the name of a metric when keep_best={keep_best}, got {metric!r}")
        if mode not in ("min", "max"):
            raise ValueError(f"mode must be 'min' or 'max', got {mode!r}")
        sign = 1 if mode == "max" else -1

        def goodness(metrics):
            value = sign * metrics.get(metric, math.nan)
            return -math.inf if math.isnan(value) else value

        latest = preservation_policy.LatestN(keep)
        best = preservation_policy.BestN(get_metric_fn=goodness, n=keep_best, keep_checkpoints_without_metrics=False)
        self._directory = epath.Path(directory).resolve()
        self._quiet = contextlib.ExitStack()
        self._quiet.enter_context(quiet_orbax())
        for step in complete_steps(self._directory):  # orbax fails on unreadable metrics
            metrics = self._directory / str(step) / "metrics" / "metrics"
            try:
                if metrics.exists():
                    json.loads(metrics.read_text())
            except ValueError as error:
                _set_aside(metrics.parent.parent, error)
        options = ocp.CheckpointManagerOptions(
            create=True,
            cleanup_tmp_directories=True,
            preservation_policy=preservation_policy.AnyPreservationPolicy([latest, best]),
            best_fn=goodness if keep_best else None,  # without it orbax does not write the metrics
        )
        self._manager = ocp.CheckpointManager(self._directory, options=options)

    def save(
        self,
        step: int,
        state: PyTree,
        metrics: Mapping[str, float] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> bool:
        """Starts saving in the background; returns once the state is copied, after which the caller may donate it.

        Args:
          step: name of the checkpoint; larger than those of all existing checkpoints.
          state: the train state.
          metrics: scalars that rank checkpoints.
          extra: content of the JSON.

        Returns:
          False if a checkpoint of this or a later step exists; nothing is written then.

        Raises:
          ValueError: if ``step`` is not an integer >= 0 or ``extra`` not JSON.
        """
        check_count(0, step=step)
        nested = to_nested(state)
        return self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.PyTreeSave(nested),  # type: ignore[call-arg]
                extra=ocp.args.JsonSave(record(nested, dict(extra or {}))),  # type: ignore[call-arg]
            ),
            metrics={name: float(value) for name, value in (metrics or {}).items()},
        )

    def wait(self) -> None:
        """Blocks until a save in progress is complete; raises its errors."""
        self._manager.wait_until_finished()

    def steps(self) -> list[int]:
        """The steps with a complete checkpoint, ascending."""
        self.wait()
        return sorted(self._manager.all_steps())

    def restore_latest(self, like: PyTree) -> Restored | None:
        """Reads the newest readable checkpoint.

        A broken checkpoint is renamed to ``broken-<step>`` with a warning, and the one before it is tried.

        Args:
          like: a state, or its shapes (``jax.eval_shape``), of the structure to restore. If its arrays have a sharding,
            the restored ones get the same.

        Returns:
          Step, state and JSON; None if there is no readable checkpoint.

        Raises:
          ValueError: if the checkpoint holds a state of a different structure; the message lists the differences.
        """
        for step in reversed(self.steps()):
            try:
                nested, extra = read(self._directory / str(step), lambda saved: fitting(saved, like))
            except Broken as error:
                _set_aside(self._directory / str(step), error)
                self._manager.reload()
            else:
                return Restored(step, from_nested(nested, like), extra)
        return None

    def close(self) -> None:
        """Waits for a save in progress and closes the directory."""
        self._manager.close()
        self._quiet.close()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def _set_aside(path, reason):
    """Renames the directory of a broken checkpoint, so that its step can be saved again."""
    broken = path.parent / f"broken-{path.name}"
    warn_broken(path, reason, f"it is renamed to {broken.name}", stacklevel=4)
    if jax.process_index() == 0:
        if broken.exists():
            broken.rmtree()
        path.rename(broken)
