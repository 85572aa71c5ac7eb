"""The reverse process as diffrax terms, for the solvers of diffrax. Needs the extra ``scorekit[diffrax]``.

The probability-flow ODE runs in ``t``, from noise to data, with ``dt0`` negative or None; the reverse SDE runs in
``r = 1 - t``, because Brownian paths need increasing time.

The state may be any pytree; diffrax keeps it in at least the precision of time, float32. An adaptive controller takes
one step for the whole batch; ``jax.vmap`` over ``diffeqsolve`` gives every example individual steps. The terms are
pytrees: they cross ``jit`` as arguments, and new parameters inside the denoiser do not retrace.

The SDE must start below ``t = 1`` where ``alpha(1) = 0`` (cosine, rectified flow) and end above ``t = 0`` where
``sigma(0) = 0``; the ODE must end above ``t = 0`` only where ``sigma'(0)`` is infinite (linear VP). One step of
:class:`~scorekit.solvers.Euler` to ``t = 0``, or the denoiser's ``x0``, completes the sample.

>>> import diffrax
>>> from scorekit import densities, denoisers, schedules
>>> schedule = schedules.RectifiedFlow()
>>> denoiser = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(1), std=0.5), schedule)
>>> term = ode_term(denoiser, schedule)
>>> solve = jax.jit(lambda x: diffrax.diffeqsolve(term, diffrax.Tsit5(), 1.0, 0.0, -0.05, x).ys[-1])
>>> round(float(solve(jnp.ones((1, 1)))[0, 0]), 4)
0.5
>>> schedule, x = schedules.LinearVP(), jax.random.normal(jax.random.key(0), (4000, 1))
>>> denoiser = denoisers.exact_denoiser(densities.gaussian(jnp.full(1, 3.0), std=0.5), schedule)
>>> path = diffrax.VirtualBrownianTree(0.0, 1.0, 1e-3, jax.eval_shape(lambda: x), jax.random.key(1))
>>> terms, start, end = reverse_sde(denoiser, schedule, path), reversed_time(1.0), reversed_time(1e-3)
>>> x = jax.jit(lambda x: diffrax.diffeqsolve(terms, diffrax.Euler(), start, end, 1 / 200, x).ys[-1])(x)
>>> round(float(x.mean()), 1), round(float(x.std()), 1)
(3.0, 0.5)
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from scorekit.arguments import checked
from scorekit.checks import check_floating, check_like, check_real, check_time
from scorekit.predictions import Velocity
from scorekit.process import diffusion_squared, drift
from scorekit.trees import as_pytree, combine
from scorekit.typing import Array, ArrayLike, Denoiser, Prediction, PyTree, Schedule

__all__ = ["Increment", "ode_term", "reverse_sde", "reversed_time"]

if TYPE_CHECKING:
    import diffrax

Increment: TypeAlias = Callable[[Array, Array], PyTree]
"""``(r0, r1) -> w(r1) - w(r0)``, shaped like the state."""


def _diffrax() -> Any:
    """The package, imported when it is first needed."""
    try:
        import diffrax
    except ImportError as error:
        raise ImportError("scorekit.bridges.diffrax needs diffrax: pip install 'scorekit[diffrax]'") from error
    return diffrax


def _velocity(denoiser, schedule, t, x, args):
    del args
    return Velocity().from_prediction(_predict(denoiser, x, t), t, schedule)


def _predict(denoiser, x, t):
    check_floating(x=x)
    prediction = denoiser(x, t)
    check_like("x", Prediction(x, x), prediction=prediction)
    check_real(prediction=prediction)
    return prediction


@checked
def ode_term(denoiser: Denoiser, schedule: Schedule) -> "diffrax.ODETerm":
    """The probability-flow ODE ``dx/dt = alpha'(t) x0 + sigma'(t) eps`` with ``(x0, eps) = denoiser(x, t)``.

    A ``diffrax.ODETerm`` in t: solve it from ``t0`` = 1 down to ``t1`` = t_min.

    Args:
      denoiser, schedule: ``(x_t, t) -> Prediction``, called with a scalar t, and its noise schedule.

    Source: Song et al. 2021, eq. 13 (https://arxiv.org/abs/2011.13456), written with the two halves of ``x_t``.
    """
    return _diffrax().ODETerm(Partial(_velocity, as_pytree(denoiser), schedule))


def reversed_time(t: ArrayLike) -> Array:
    """``r = 1 - t``, the time of :func:`reverse_sde`, shaped like ``t``; its own inverse.

    Args:
      t: times in [0, 1], any shape.
    """
    check_time(t=t)
    return 1.0 - jnp.asarray(t)


def _reverse_drift(denoiser, schedule, r, x, args):
    del args
    t = reversed_time(r)
    g2_over_sigma = diffusion_squared(schedule, t) / schedule.sigma(t)
    # The state first: its dtype is the result's.
    return combine((-drift(schedule, t), x), (-g2_over_sigma, _predict(denoiser, x, t).eps))


def _diffusion(schedule, r, x, args):
    import lineax  # comes with diffrax

    del args
    g = jnp.sqrt(diffusion_squared(schedule, reversed_time(r)))
    return lineax.DiagonalLinearOperator(jax.tree.map(lambda leaf: jnp.full_like(leaf, g), x))


@checked
def reverse_sde(denoiser: Denoiser, schedule: Schedule, path: Any) -> "diffrax.MultiTerm":
    """The reverse SDE in ``r = 1 - t``: ``dx = -(f x + (g^2 / sigma) eps) dr + g dw``, all coefficients at t.

    A ``diffrax.MultiTerm`` in r: solve it from ``reversed_time(t_max)`` up to ``reversed_time(t_min)``. The noise is
    additive: Itô and Stratonovich are the same, and ``diffrax.ShARK``, ``SRA1`` and ``SEA`` may be used.

    Args:
      denoiser, schedule: ``(x_t, t) -> Prediction``, called with a scalar t, and its noise schedule.
      path: the Brownian motion over the values of r that the solver visits, for example
        ``diffrax.VirtualBrownianTree(0.0, 1.0, tol, jax.eval_shape(lambda: x), key)``, with the Lévy area that the
        solver needs and a tolerance below the smallest step; or any ``(r0, r1) -> increment`` shaped like x.

    Source: Anderson 1982; Song et al. 2021, eq. 6 (https://arxiv.org/abs/2011.13456).
    """
    diffrax = _diffrax()
    return diffrax.MultiTerm(
        diffrax.ODETerm(Partial(_reverse_drift, as_pytree(denoiser), schedule)),
        diffrax.ControlTerm(Partial(_diffusion, schedule), path),
    )
