"""Checkpoints: asynchronous, atomic, and forgiving about a broken newest one."""

import json
import math
import warnings
from collections.abc import Mapping
from os import PathLike
from typing import Any, Literal, NamedTuple

import jax
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint.checkpoint_managers import preservation_policy

from scorekit.training._trees import checksums, differences, from_nested, nested_shapes, to_nested
from scorekit.typing import PyTree


class Restored(NamedTuple):
    """What :meth:`Checkpoints.restore_latest` found.

    Attributes:
      step: the step it was saved at.
      state: the train state.
      extra: the JSON saved beside it.
    """

    step: int
    state: PyTree
    extra: dict[str, Any]


class Checkpoints:
    """The checkpoints of a run in one directory, ``directory/<step>``.

    A checkpoint holds the whole train state (parameters, optimiser, averages, PRNG key, counters), a checksum of
    every array, and a small JSON for the position in the data and whatever else the caller wants back. It is written
    in the background and appears under its name only when complete. The ``keep`` newest and the ``keep_best`` best
    stay, others are deleted.

    Opening the directory deletes what a killed save left behind, so only one run may have it open;
    :func:`restore_params` reads at any time.

    Args:
      directory: created if need be.
      keep: how many of the newest to keep, at least 1.
      keep_best: how many of the best to keep besides.
      metric: name of the metric that decides; required when ``keep_best > 0``.
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
        if keep < 1 or keep_best < 0:
            raise ValueError(f"keep must be at least 1 and keep_best at least 0, got {keep} and {keep_best}")
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
        for path in self._directory.glob("[0-9]*/metrics/metrics"):  # orbax would stop at an unreadable one
            try:
                json.loads(path.read_text())
            except ValueError as error:
                _set_aside(path.parent.parent, error)
        self._manager = _manager(
            self._directory,
            create=True,
            cleanup_tmp_directories=True,
            preservation_policy=preservation_policy.AnyPreservationPolicy([latest, best]),
            best_fn=goodness if keep_best else None,  # without it orbax does not write the metrics
        )

    def save(
        self,
        step: int,
        state: PyTree,
        metrics: Mapping[str, float] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> bool:
        """Starts saving; returns once the state is copied, so that the caller may donate it.

        Args:
          step: the name of the checkpoint; must exceed those that exist.
          state: the train state.
          metrics: scalars for keep-best.
          extra: what the JSON shall hold.

        Returns:
          False if a checkpoint of this or a later step exists, in which case nothing is written.
        """
        nested = to_nested(state)
        sums = jax.tree.map(int, jax.device_get(checksums(nested)))
        return self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.PyTreeSave(nested),  # type: ignore[call-arg]
                extra=ocp.args.JsonSave({"extra": dict(extra or {}), "checksums": sums}),  # type: ignore[call-arg]
            ),
            metrics={name: float(value) for name, value in (metrics or {}).items()},
        )

    def wait(self) -> None:
        """Blocks until the save in progress, if any, is complete; raises what went wrong in it."""
        self._manager.wait_until_finished()

    def steps(self) -> list[int]:
        """The steps that have a complete checkpoint, ascending."""
        self.wait()
        return sorted(self._manager.all_steps())

    def restore_latest(self, like: PyTree) -> Restored | None:
        """Reads the newest checkpoint that can be read.

        One that is broken is reported by a warning and renamed to ``broken-<step>``, and the one before is tried.

        Args:
          like: a state, or its shapes (``jax.eval_shape``), of the structure to restore. Where its arrays are placed
            on devices, the restored ones are placed alike.

        Returns:
          Step, state and JSON; None if there is no readable checkpoint.

        Raises:
          ValueError: if the checkpoint holds a state of another structure; says what differs.
        """
        wanted = nested_shapes(like)
        for step in reversed(self.steps()):
            try:
                nested, extra = _read(self._manager, step, lambda saved: wanted, complete=True)
            except _WrongStructure:
                raise
            except Exception as error:
                _set_aside(self._directory / str(step), error)
                self._manager.reload()
            else:
                return Restored(step, from_nested(nested, like), extra)
        return None

    def close(self) -> None:
        """Waits for the save in progress and gives up the directory."""
        self._manager.close()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def restore_params(
    directory: str | PathLike,
    *,
    decay: float | str | None = None,
    step: int | None = None,
    like: PyTree | None = None,
) -> tuple[int, PyTree]:
    """Reads the parameters, or an average of them, and nothing else; changes nothing in the directory.

    Args:
      directory: the directory of a :class:`Checkpoints`.
      decay: the average to read, for example 0.999; None for the parameters themselves.
      step: the checkpoint; the newest readable one by default.
      like: parameters, or their shapes, whose structure and place the result has; nested dictionaries on the first
        device by default.

    Returns:
      The step of the checkpoint and the parameters.

    Raises:
      FileNotFoundError: if there is no such checkpoint, or none that can be read.
      ValueError: if the checkpoint has no such average or its parameters are not like ``like``.
    """
    directory = epath.Path(directory).resolve()
    branch = ("params",) if decay is None else ("ema", str(float(decay)))

    def wanted(saved):
        if branch[0] == "ema" and branch[1] not in saved.get("ema", {}):
            raise _WrongStructure(f"decay must be one of {sorted(saved.get('ema', {}))}, got {decay}")
        tree = nested_shapes(_descend(saved, branch) if like is None else like)
        for name in reversed(branch):
            tree = {name: tree}
        return tree

    if not directory.exists():
        raise FileNotFoundError(f"no checkpoint in {directory}")
    with _manager(directory, create=False) as manager:
        steps = sorted(manager.all_steps(), reverse=True)
        if step is not None:
            if step not in steps:
                raise FileNotFoundError(f"no checkpoint {step} in {directory}, only {sorted(steps)}")
            steps = [step]
        for found in steps:
            try:
                nested, _ = _read(manager, found, wanted, complete=False)
            except _WrongStructure:
                raise
            except Exception as error:
                _warn_broken(directory / str(found), error, "it is passed over")
            else:
                params = _descend(nested, branch)
                return found, params if like is None else from_nested(params, like)
    raise FileNotFoundError(f"no readable checkpoint in {directory}" + (f" at step {step}" if step else ""))


class _WrongStructure(ValueError):
    """The checkpoint is sound but holds something else."""


def _manager(directory, **options):
    # Handlers named here let orbax read the structure of a checkpoint that another process wrote.
    return ocp.CheckpointManager(
        directory,
        options=ocp.CheckpointManagerOptions(**options),
        item_handlers={"state": ocp.PyTreeCheckpointHandler(), "extra": ocp.JsonCheckpointHandler()},
    )


def _read(manager, step, wanted, complete):
    """The part of a checkpoint given by ``wanted(saved shapes)``, verified, and the JSON."""
    metadata = manager.item_metadata(step)["state"]
    if metadata is None:
        raise OSError("the description of the arrays is missing")
    saved = metadata.tree
    target = wanted(saved)
    found = differences(saved, target)
    found = found if complete else [line for line in found if not line.endswith("only in the checkpoint")]
    if found:
        more = f" and {len(found) - 6} more" if len(found) > 6 else ""
        raise _WrongStructure(f"checkpoint {step} in {manager.directory} does not fit: {'; '.join(found[:6])}{more}")
    restored = manager.restore(
        step,
        args=ocp.args.Composite(
            state=ocp.args.PyTreeRestore(  # type: ignore[call-arg]
                item=target,
                restore_args=ocp.checkpoint_utils.construct_restore_args(target),
                partial_restore=True,
            ),
            extra=ocp.args.JsonRestore(),  # type: ignore[call-arg]
        ),
    )
    state, record = restored["state"], restored["extra"]
    sums = jax.device_get(checksums(state))
    for path, value in jax.tree_util.tree_leaves_with_path(sums):
        names = [key.key for key in path]
        if int(value) != _descend(record["checksums"], names):
            raise OSError(f"the checksum of {'/'.join(names)} is wrong")
    return state, record["extra"]


def _descend(tree, names):
    for name in names:
        tree = tree[name]
    return tree


def _set_aside(path, error):
    """Renames the directory of a broken checkpoint, so that its step can be saved again."""
    broken = path.parent / f"broken-{path.name}"
    _warn_broken(path, error, f"it is renamed to {broken.name}")
    if jax.process_index() == 0:
        if broken.exists():
            broken.rmtree()
        path.rename(broken)


def _warn_broken(path, error, consequence):
    reason = f"{type(error).__name__}: {error}".split("\n")[0][:300]
    warnings.warn(f"checkpoint {path} is broken ({reason}); {consequence}", stacklevel=4)
