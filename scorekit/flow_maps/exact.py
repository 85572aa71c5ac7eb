"""Exact flow maps of analytic data distributions: the oracles of everything in this package."""

import functools

import jax
import jax.numpy as jnp

from scorekit.arguments import PositiveInt, checked
from scorekit.checks import check_axes, check_state
from scorekit.densities import Gaussian, GaussianMirage, Mixture
from scorekit.numerics.coordinates import frame
from scorekit.numerics.meshes import scan
from scorekit.trees import pytree_dataclass, static
from scorekit.typing import FlowMap, Prediction, Schedule


@checked
def exact_map(density: Gaussian | Mixture | GaussianMirage, schedule: Schedule, steps: PositiveInt = 64) -> FlowMap:
    """The exact flow map of an analytic data distribution, for any schedule.

    Of a Gaussian it is in closed form, ``X = alpha_s m + sqrt(K_s / K_t) (x_t - alpha_t m)`` with
    ``K = alpha^2 C + sigma^2``. Of the others the average velocity ``u = int_0^1 v(Y(l), tau + l (rho - tau)) dl`` is
    integrated by ``steps`` Runge-Kutta steps of order 4 in the "flow" coordinate, in which the ODE does not depend on
    the schedule. Both are differentiable in the state and in both times, also where these are equal.

    Args:
      density: the distribution of the data.
      schedule: the noise schedule.
      steps: steps of the integration, 4 evaluations each; not used for a Gaussian.

    Returns:
      ``(x_t, t, s=t) -> Prediction``, for ``x_t`` ``(..., D)``, or ``(B, D)`` with times ``(B,)``.

    >>> from scorekit.densities import gaussian
    >>> from scorekit.flow_maps import transport
    >>> from scorekit.schedules import Cosine
    >>> data, schedule = gaussian(jnp.array([2.0]), std=0.5), Cosine()
    >>> transport(exact_map(data, schedule), schedule, jnp.ones((1, 1)), 1.0, 0.0)
    Array([[2.5]], dtype=float32)
    """
    if not isinstance(density, Gaussian | Mixture | GaussianMirage):
        raise ValueError(f"density must be one of Gaussian, Mixture, GaussianMirage, got {density!r}")
    return _ExactMap(density=density, schedule=schedule, steps=steps)


@pytree_dataclass
class _ExactMap:
    density: Gaussian | Mixture | GaussianMirage
    schedule: Schedule
    steps: int = static()

    def __call__(self, x_t, t, s=None):
        s = t if s is None else s
        check_state(x_t, t=t, s=s)
        check_axes(self.density.dim, x_t=x_t)
        start, end = ((self.schedule.alpha(u), self.schedule.sigma(u)) for u in (t, s))
        density = self.density
        jump = density.chord if isinstance(density, Gaussian) else functools.partial(_integrated, self.steps, density)
        if jnp.ndim(t) or jnp.ndim(s):
            batch = jnp.shape(x_t)[:1]
            levels = jax.tree.map(lambda level: jnp.broadcast_to(level, batch), (start, end))
            prediction = jax.vmap(jump)(x_t, *levels)
        else:
            prediction = jump(x_t, start, end)
        return jax.tree.map(lambda leaf: leaf.astype(jnp.result_type(x_t)), prediction)


def _integrated(steps, density, x_t, start, end):
    first, last = frame("flow", *start), frame("flow", *end)
    width = last.clock - first.clock

    def velocity(y, part):
        tau = first.clock + part * width
        pair = density.predict(y, 1.0 - tau, tau)
        return pair.eps - pair.x0

    def step(carry, k):
        y, total = carry
        h, part = width / steps, k / steps
        k1 = velocity(y, part)
        k2 = velocity(y + 0.5 * h * k1, part + 0.5 / steps)
        k3 = velocity(y + 0.5 * h * k2, part + 0.5 / steps)
        k4 = velocity(y + h * k3, part + 1.0 / steps)
        slope = (k1 + 2.0 * k2 + 2.0 * k3 + k4) / 6.0
        return (y + h * slope, total + slope / steps), None

    y = x_t / first.scale
    (_, average), _ = scan(step, (y, jnp.zeros_like(y)), jnp.arange(steps))
    return Prediction(y - first.clock * average, y + (1.0 - first.clock) * average)
