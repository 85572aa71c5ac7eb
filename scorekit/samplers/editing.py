"""Editing without an operator: SDEdit, and translation by encoding with one model and decoding with another."""

import jax

from scorekit.arguments import checked
from scorekit.checks import check_finite, check_floating
from scorekit.numerics.grids import check_grid
from scorekit.process import perturb
from scorekit.samplers.inversion import invert
from scorekit.samplers.sampling import sample
from scorekit.trees import normal_like
from scorekit.typing import ArrayLike, Denoiser, Key, PyTree, Schedule, Solver


@checked
def sdedit(
    key: Key,
    denoiser: Denoiser,
    schedule: Schedule,
    solver: Solver,
    x: PyTree,
    ts: ArrayLike,
) -> PyTree:
    """Adds noise to ``x`` up to ``ts[0]`` and samples from there; ``ts[0]`` trades faithfulness for realism.

    ``x_{ts[0]} = alpha x + sigma eps``, then :func:`scorekit.samplers.sample` along ``ts``. Where alpha is 0 nothing of
    the input remains; a small ``ts[0]`` hardly changes it. To keep a part, wrap the denoiser in
    :func:`scorekit.guidance.replacement`.

    Args:
      key: PRNG key.
      denoiser: the model, for instance of the target class.
      schedule: the noise schedule of the denoiser.
      solver: any.
      x: the input, a sketch or an image of another kind, leaves ``(B, ...)``.
      ts: decreasing times ``(n + 1,)``; the first sets the noise, often 0.4 to 0.6 (variance preserving).

    Returns:
      The edited data, shaped and typed like ``x``.

    >>> import jax.numpy as jnp
    >>> from scorekit import densities, denoisers, schedules, solvers
    >>> schedule = schedules.Cosine()
    >>> denoiser = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(1), std=0.1), schedule)
    >>> x = sdedit(jax.random.key(0), denoiser, schedule, solvers.Euler(), jnp.ones((1, 1)), jnp.linspace(0.1, 0.0, 5))
    >>> 0.2 < float(x[0, 0]) < 0.8  # on its way to the data, at 0
    True

    Source: Meng et al. 2021 (https://arxiv.org/abs/2108.01073).
    """
    times = check_grid(ts)
    check_floating(x=x)
    check_finite(x=x)
    for_start, for_steps = jax.random.split(key)
    start = perturb(schedule, x, normal_like(for_start, x), times[0])
    return sample(denoiser, schedule, solver, start, ts, key=for_steps if solver.stochastic else None)


@checked
def translate(
    source: Denoiser,
    destination: Denoiser,
    schedule: Schedule,
    solver: Solver,
    x: PyTree,
    ts: ArrayLike,
) -> PyTree:
    """Encodes with one denoiser and decodes with another, deterministically: inversion editing, dual bridges.

    ``x' = sample(destination, invert(source, x))`` along ``ts`` and back. With two conditions of one model this is
    editing by (DDIM) inversion; with two models it is their dual diffusion implicit bridge, whose halves meet in the
    noise. With one denoiser as both it returns ``x`` up to the error of the steps, see
    :func:`scorekit.samplers.invert`.
    For models with different schedules call ``invert`` and ``sample``.

    Args:
      source: the denoiser of the condition or domain of the input.
      destination: the denoiser of the condition or domain of the result.
      schedule: the noise schedule of the denoisers.
      solver: any deterministic solver.
      x: the input, a sketch or an image of another kind, leaves ``(B, ...)``.
      ts: decreasing times ``(n + 1,)``; a first time below 1 preserves more of the input.

    Returns:
      The edited data, shaped and typed like ``x``.

    >>> import jax.numpy as jnp
    >>> from scorekit import densities, denoisers, schedules, solvers
    >>> schedule, ts = schedules.Cosine(), solvers.grids.uniform(64)
    >>> one, other = (denoisers.exact_denoiser(densities.gaussian(jnp.full(1, m), std=s), schedule)
    ...               for m, s in ((0.0, 1.0), (5.0, 0.5)))
    >>> translate(one, other, schedule, solvers.Heun(), jnp.array([[1.0]]), ts).round(1)  # 5 + 0.5 * 1
    Array([[5.5]], dtype=float32)

    Source: Su et al. 2022 (https://arxiv.org/abs/2203.08382).
    """
    noise = invert(source, schedule, solver, x, ts)
    return sample(destination, schedule, solver, noise, ts)
