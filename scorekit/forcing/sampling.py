"""Sampling of sequences whose frames have levels of their own."""

import jax
import numpy as np

from scorekit.arguments import FractionBelowOne, checked
from scorekit.checks import check_time
from scorekit.forcing import _steps
from scorekit.forcing._checks import check_ends_at_zero, check_solver, frames_of
from scorekit.numerics import wide
from scorekit.numerics.grids import check_samples
from scorekit.numerics.meshes import scan
from scorekit.trees import is_traced
from scorekit.typing import Array, ArrayLike, Denoiser, Key, PyTree, Schedule, Solver


@checked
def sample(
    denoiser: Denoiser,
    schedule: Schedule,
    solver: Solver,
    x_init: PyTree,
    levels: ArrayLike,
    *,
    key: Key | None = None,
    stabilisation: FractionBelowOne[float] = 0.0,
) -> PyTree:
    """Integrates every frame along its own levels, in one ``lax.scan``: ``x_i(levels[k, i])`` to ``levels[k + 1, i]``.

    The velocity of the frames ``dx_i = (alpha'_i E[x0_i | x] + sigma'_i E[eps_i | x]) dt_i`` leads along any path of
    levels to the distribution of the data if the expectations are given *all* frames. The expectations of a causal
    network suffice where the previous frames have no noise (:func:`~scorekit.forcing.autoregressive`); elsewhere they
    are the approximation of diffusion forcing.

    Args:
      key: PRNG key; may be ``None`` for a deterministic solver.
      denoiser: ``(x_t, t) -> Prediction`` with ``t`` of shape ``(B, T)``.
      schedule: the noise schedule of the denoiser.
      solver: a single-step solver.
      x_init: leaves ``(B, T, ...)`` at the levels of the first row: given frames where the level is 0, elsewhere noise
        from :func:`scorekit.process.sample_prior`.
      levels: ``(n + 1, T)``, which fall or stay from row to row and end at 0.
      stabilisation: time passed to the denoiser for clean frames, ``alpha(time) x``: above 0 the denoiser takes the
        errors of earlier frames for noise, and they matter less.

    Returns:
      The sequences, shaped and typed like ``x_init``.

    >>> import jax.numpy as jnp
    >>> from scorekit.forcing import pyramid
    >>> from scorekit.schedules import Cosine
    >>> from scorekit.solvers import Euler
    >>> from scorekit.typing import Prediction
    >>> constant = lambda x, t: Prediction(0 * x + 3.0, x)  # of data that are 3
    >>> levels = pyramid([1.0, 0.5, 0.0], 2, delay=1)
    >>> sample(constant, Cosine(), Euler(), jnp.ones((1, 2, 1)), levels)[0, :, 0].tolist()
    [3.0, 3.0]

    Source: Chen et al. 2024, "Diffusion forcing" (https://arxiv.org/abs/2407.01392).
    """
    levels = _check(key, solver, x_init, levels)
    keys = jax.random.split(key, len(levels) - 1) if key is not None and solver.stochastic else None

    def body(x, inputs):
        row, t, s, key = inputs
        return _steps.step(key, denoiser, schedule, solver, x, row, t, s, stabilisation), None

    rows = _steps.rows_of(solver, schedule, levels)
    x = scan(body, x_init, (rows, levels[:-1], levels[1:], keys))[0]
    return check_samples(x, schedule=schedule, ts=levels, x_init=x_init)


def _check(key, solver, x_init, levels) -> Array:
    """The levels as an array."""
    check_solver(solver)
    if solver.stochastic and key is None:
        raise ValueError(f"key must be a PRNG key for the stochastic solver {type(solver).__name__}, got None")
    _, length = frames_of("x_init", x_init)
    if np.ndim(levels) != 2 or np.shape(levels)[0] < 2 or np.shape(levels)[1] != length:
        raise ValueError(f"levels must have shape (n + 1, {length}) with n >= 1 steps, got {np.shape(levels)}")
    check_time(levels=levels)
    check_ends_at_zero("levels", levels)
    if not is_traced(levels) and not np.all(np.diff(np.asarray(levels, float), axis=0) <= 0):
        raise ValueError("levels must fall or stay from row to row, and some rise")
    return wide(levels)
