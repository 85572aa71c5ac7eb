"""Reading parts of checkpoints, of which no more is read; the checksum of every array is verified."""

import contextlib
from os import PathLike
from typing import Any

from scorekit.arguments import NonNegativeInt, checked
from scorekit.checks import check
from scorekit.training._restoring import (
    Broken,
    DoesNotFit,
    absolute,
    descend,
    fitting,
    metadata,
    read,
    steps_in,
    warn_broken,
)
from scorekit.training._trees import from_nested
from scorekit.typing import PyTree


@checked
def restore_params(
    directory: str | PathLike,
    *,
    decay: float | str | None = None,
    step: NonNegativeInt | None = None,
    like: PyTree | None = None,
) -> tuple[int, PyTree]:
    """Reads only the parameters, or an average of them.

    Args:
      directory: the directory of a :class:`~scorekit.training.checkpoints.Checkpoints`, which is not modified.
      decay: the average to read, for example 0.999; None for the parameters themselves.
      step: the checkpoint; the newest readable checkpoint by default.
      like: parameters, or their shapes, whose structure and sharding the result has; nested dictionaries on the first
        device by default.

    Returns:
      ``(step, params)``.

    Raises:
      FileNotFoundError: without a checkpoint that can be read.
      ValueError: for a decay whose average the checkpoint does not have, or parameters unlike ``like``.

    >>> restore_params("/nowhere")
    Traceback (most recent call last):
    FileNotFoundError: no checkpoint in /nowhere
    """
    if decay is not None and not isinstance(decay, str):
        check(lambda d: (d >= 0) & (d < 1), "in [0, 1)", decay=decay)
    folder = absolute(directory)
    branch = ["params"]
    if decay is not None:
        branch = ["ema", decay if isinstance(decay, str) else str(float(decay))]

    def choose(saved):
        if decay is not None and branch[-1] not in saved.get("ema", {}):
            raise DoesNotFit(f"decay must be one of {sorted(saved.get('ema', {}))}, got {decay}")
        there = descend(saved, branch)
        tree = there if like is None else fitting(there, like)
        for name in reversed(branch):
            tree = {name: tree}
        return tree

    if not folder.exists():
        raise FileNotFoundError(f"no checkpoint in {folder}")
    steps = steps_in(folder)
    if step is not None:
        if step not in steps:
            raise FileNotFoundError(f"no checkpoint {step} in {folder}, only {steps}")
        steps = [step]
    for found in reversed(steps):
        try:
            nested, _ = read(folder / str(found), choose)
        except Broken as error:
            then = "an earlier one is tried" if found > min(steps) else "there is no earlier one"
            warn_broken(folder / str(found), error, then)
        else:
            params = descend(nested, branch)
            return found, params if like is None else from_nested(params, like)
    raise FileNotFoundError(f"no readable checkpoint in {folder}" + ("" if step is None else f" at step {step}"))


def restore_extra(directory: str | PathLike, *, step: int | None = None) -> dict[str, Any] | None:
    """Reads only the JSON that was saved with a checkpoint; None where it is not readable.

    Args:
      directory: the directory of a :class:`~scorekit.training.checkpoints.Checkpoints`, which is not modified.
      step: the checkpoint; the newest readable checkpoint by default.

    Returns:
      The JSON of the checkpoint, or None.

    >>> restore_extra("/nowhere") is None
    True
    """
    folder = absolute(directory)
    for found in reversed(steps_in(folder)):
        if step is None or step == found:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                return metadata(folder / str(found))["extra"]
    return None
