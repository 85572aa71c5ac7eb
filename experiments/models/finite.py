"""Samples must be finite: they are counted before anything is written or scored.

Data sets round and clip samples to values that data can take; where the samples are not finite,
:func:`experiments.data.dataset.keep_not_finite` passes that on, so that the count is right after as well as before.
"""

from typing import Any

import jax
import numpy as np

from experiments.cli.config import Config, ConfigError


class NotFinite(ConfigError):
    """Some samples are not finite."""


def sampler_of(config: Config, scale: float | None = None) -> str:
    """The sampler of a config for an error message: its guidance scale, rules and solver."""
    scale = config.sampling.guidance_scale if scale is None else scale
    options = config.sampling
    return (
        f"guidance scale {scale:g} with {' + '.join(config.guidance)}, {options.steps} steps of the solver "
        f"{options.solver.name} on the grid {options.grid.name}"
    )


def check_codes(codes: np.ndarray, by: str) -> np.ndarray:
    """As :func:`check_samples`, of codes ``(B, ...)``: of what is not finite -1 was drawn.

    >>> check_codes(np.array([[0, 2], [1, -1]]), "autoregressive")
    Traceback (most recent call last):
    experiments.models.finite.NotFinite: 1 of 2 samples are not finite (autoregressive); nothing was written
    """
    check_samples(np.where(codes < 0, np.nan, 0.0), by)
    return codes


def check_samples(samples: Any, by: str, what: str = "samples") -> Any:
    """Returns the samples, arrays (or trees of them) with a leading axis.

    Args:
      samples: the samples.
      by: what has drawn them, for the error message.
      what: they are.

    Raises:
      NotFinite: if any of them is not finite, with their number.

    >>> check_samples(np.array([[0.0], [np.nan]]), "guidance scale 1e+38")
    Traceback (most recent call last):
    experiments.models.finite.NotFinite: 1 of 2 samples are not finite (guidance scale 1e+38); nothing was written
    """
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(samples)]
    finite = np.all([np.isfinite(leaf.reshape(len(leaf), -1)).all(axis=1) for leaf in leaves], axis=0)
    if not finite.all():
        raise NotFinite(f"{np.sum(~finite)} of {len(finite)} {what} are not finite ({by}); nothing was written")
    return samples
