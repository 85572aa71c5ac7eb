"""A model as a distribution for other people's inference: samples, and a log-density whose gradient is the score.

The density is the one of ``x = x0 + noise_std eps``, in the units of the data: ``x_t = alpha x`` at the time t with
``sigma / alpha = noise_std``. Its gradient is one evaluation of the denoiser, by a custom rule in forward and reverse
mode and of any order,

    ``grad log p(x) = alpha grad log p_t(alpha x) = -eps(alpha x, t) / noise_std``,

and the functions differ in the value alone:

======================  ================================================================  =============================
function                value                                                             evaluations of the model
======================  ================================================================  =============================
``flow_density``        exact: the probability-flow ODE (:func:`log_likelihood`)          50 to 200, with D tangents
``line_density``        up to a constant: the integral of the score along a straight      ``num_nodes``
                        line from a fixed point
``score_density``       none: NaN, which no step with an acceptance can take for a value  0
``model_density``       a function of yours; :func:`scorekit.flow_maps.flow_map_density`  its own
                        has the determinant of one jump of a flow map
======================  ================================================================  =============================

A Metropolis or Hamiltonian step is valid for any force and samples the density of the *value*; the gradient decides how
often it accepts. The two agree for an exact denoiser where ``alpha(t_max) = 0``; else up to the errors of the network
and of the prior ``N(0, sigma(t_max)^2)``. With :func:`score_density` such a step fails visibly; it is for unadjusted
Langevin steps, optimisation and variational inference, which take gradients only.

The denoiser and the schedule are constants: differentiate :func:`log_likelihood` on a grid ``ts`` in the
parameters of a network. A derivative in a parameter of the pytree ``denoiser`` raises; one in a parameter that a plain
function closes over is not seen, and is 0 or an error of JAX.

Source: Song et al. 2021 (https://arxiv.org/abs/2011.13456).
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from scorekit.arguments import Positive, PositiveFraction, PositiveInt, checked
from scorekit.checks import (
    check,
    check_axes,
    check_broadcasts,
    check_finite,
    check_floating,
    check_prediction,
    check_shape,
)
from scorekit.likelihood.exact import log_likelihood
from scorekit.numerics.divergence import DivergenceName
from scorekit.process import sample_prior
from scorekit.samplers import recommended, sample
from scorekit.trees import as_pytree, combine, is_traced, pytree_dataclass, static, sum_per_example
from scorekit.typing import Array, ArrayLike, Denoiser, Key, Number, Schedule


@pytree_dataclass
class ModelDensity:
    """A model as a distribution of ``x0 + noise_std eps``; build it with one of the functions of this module.

    Attributes:
      denoiser: the denoiser, or the flow map.
      schedule: its noise schedule.
      noise_std: standard deviation of the noise, in units of the data.
      t_max: the largest time.
      value: the way to the value of the log-density.
      event_shape: shape of one point.
      steps: evaluations of the model by :meth:`sample`.

    >>> from scorekit import densities, denoisers, schedules
    >>> data, schedule = densities.gaussian(jnp.ones(2), std=0.5), schedules.Cosine()
    >>> density: ModelDensity = flow_density(denoisers.exact_denoiser(data, schedule), schedule, (2,))
    >>> density.score(jnp.ones(2)).round(2), density.sample(jax.random.key(0), (3,)).shape
    (Array([0., 0.], dtype=float32), (3, 2))
    """

    denoiser: Any
    schedule: Any
    noise_std: Number
    t_max: Number
    value: Any
    event_shape: tuple[int, ...] = static()
    steps: int = static()

    @property
    def time(self) -> Array:
        """The time t of the density, with ``sigma / alpha = noise_std``."""
        return self.schedule.time_at(-2.0 * jnp.log(self.noise_std))

    def log_density(self, x: Array) -> Array:
        """``log p(x)`` in nats, with the score as its gradient; ``(..., *event_shape) -> (...)``."""
        return _log_density(self, self._points(x)).reshape(self._leading(x))

    def score(self, x: Array) -> Array:
        """``grad log p(x) = -eps / noise_std``, shaped like ``x``: one evaluation of the model.

        Args:
          x: points ``(..., *event_shape)``.
        """
        return _score(self, self._points(x)).reshape(jnp.shape(x))

    def sample(self, key: Key, shape: tuple[int, ...] = ()) -> Array:
        """Draws ``shape + event_shape`` by the recommended ODE solver with ``steps`` evaluations."""
        check_shape(shape=shape)
        t, like = self.time, jax.ShapeDtypeStruct((math.prod(shape), *self.event_shape), jnp.result_type(float))
        solver, ts = recommended(self.schedule, self.steps, t_max=self.t_max, t_min=t)
        noise = sample_prior(key, self.schedule, like, self.t_max)
        x_t = sample(self.denoiser, self.schedule, solver, noise, ts)
        return combine((1.0 / self.schedule.alpha(t), x_t)).reshape(*shape, *self.event_shape)

    def noisy(self, x: Array) -> tuple[Array, Array, Array]:
        """``(x_t, t, log |dx_t / dx|)``: the points as states of the model.

        Args:
          x: points ``(B, *event_shape)``.

        >>> from scorekit import densities, denoisers, schedules
        >>> schedule = schedules.RectifiedFlow()
        >>> denoiser = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(2), std=1.0), schedule)
        >>> x_t, t, _ = score_density(denoiser, schedule, (2,), noise_std=1.0).noisy(jnp.ones((3, 2)))
        >>> round(float(t), 3), round(float(x_t[0, 0]), 3)  # sigma = alpha
        (0.5, 0.5)
        """
        t = self.time
        alpha = self.schedule.alpha(t)
        return combine((alpha, x)), t, math.prod(self.event_shape) * jnp.log(alpha)

    def _leading(self, x: Array) -> tuple[int, ...]:
        return jnp.shape(x)[: jnp.ndim(x) - len(self.event_shape)]

    def _points(self, x: Array) -> Array:
        """The points with one batch axis, checked."""
        check_floating(x=x)
        check_axes(*self.event_shape, x=x)
        check_finite(x=x)
        return jnp.reshape(x, (-1, *self.event_shape))


def _score(density: ModelDensity, x: Array) -> Array:
    x_t, t, _ = density.noisy(x)
    return combine((-1.0 / density.noise_std, check_prediction(density.denoiser(x_t, t)).eps))


@jax.custom_jvp
def _log_density(density: ModelDensity, x: Array) -> Array:
    return density.value(density, x)


def _rule(primals, tangents):
    density, x = primals
    if not all(isinstance(leaf, SymbolicZero) for leaf in jax.tree.leaves(tangents[0])):
        raise ValueError(
            "x must be the only argument in which a log-density is differentiated, got a derivative in its denoiser, "
            "schedule or noise_std: likelihood.log_likelihood on a grid ts has these"
        )
    value = _log_density(density, x)
    if isinstance(tangents[1], SymbolicZero):
        return value, jnp.zeros_like(value)
    return value, sum_per_example(lambda x: x, _score(density, x) * tangents[1]).astype(value.dtype)


_log_density.defjvp(_rule, symbolic_zeros=True)


@pytree_dataclass
class _ByFlow:
    key: Any
    rtol: Any
    atol: Any
    divergence: DivergenceName = static()
    num_probes: int = static()

    def __call__(self, density: ModelDensity, x: Array) -> Array:
        x_t, t, log_scale = density.noisy(x)
        options = {"divergence": self.divergence, "num_probes": self.num_probes, "rtol": self.rtol, "atol": self.atol}
        options |= {"key": self.key, "t_min": t, "t_max": density.t_max}
        return log_likelihood(density.denoiser, density.schedule, x_t, **options).log_p + log_scale


@pytree_dataclass
class _ByLine:
    start: Array
    num_nodes: int = static()

    def __call__(self, density: ModelDensity, x: Array) -> Array:
        at, weights = (jnp.asarray(each, x.dtype) for each in np.polynomial.legendre.leggauss(self.num_nodes))
        start = jnp.broadcast_to(jnp.asarray(self.start, x.dtype), x.shape)
        slope = lambda s: sum_per_example(lambda x: x, _score(density, start + s * (x - start)) * (x - start))
        return 0.5 * weights @ jax.vmap(slope)(0.5 * (1.0 + at))


@pytree_dataclass
class _NoValue:
    def __call__(self, density: ModelDensity, x: Array) -> Array:
        return jnp.full(x.shape[0], jnp.nan, jnp.promote_types(x.dtype, jnp.float32))


@checked
def model_density(
    value: Callable[[ModelDensity, Array], Array],
    denoiser: Denoiser,
    schedule: Schedule,
    event_shape: tuple[int, ...],
    noise_std: Positive[float] = 0.01,
    *,
    t_max: PositiveFraction[float] = 1.0,
    steps: PositiveInt = 50,
) -> ModelDensity:
    """The density of a model whose value is given: the gradient is the score.

    Args:
      value: ``(density, x) -> log p(x)``, ``(B,)`` for points ``(B, *event_shape)``, a pytree or a function;
        :meth:`ModelDensity.noisy` gives the state of the model.
      denoiser: ``(x_t, t) -> Prediction``, called with a scalar ``t``.
      schedule: the noise schedule of the denoiser, with finite log-SNR at the time of ``noise_std``.
      event_shape: shape of one point, without the batch.
      noise_std: standard deviation of the noise in units of the data, between sigma / alpha at t = 0 and at ``t_max``;
        a larger one gives a smoother density.
      t_max: the largest time; below 1 for networks that predict eps or the score on a schedule with ``alpha(1) = 0``.
      steps: evaluations of the model in :meth:`ModelDensity.sample`.

    >>> from scorekit import densities, denoisers, schedules
    >>> data, schedule = densities.gaussian(jnp.ones(2), std=0.5), schedules.Cosine()
    >>> smooth, denoiser = data.marginal(1.0, 0.01), denoisers.exact_denoiser(data, schedule)
    >>> given = model_density(lambda density, x: smooth.log_density(x), denoiser, schedule, (2,))
    >>> bool(jnp.allclose(jax.grad(given.log_density)(jnp.zeros(2)), given.score(jnp.zeros(2))))
    True
    """
    check_shape(event_shape=event_shape)
    if 0 in event_shape:
        raise ValueError(f"event_shape must hold sizes >= 1, got {event_shape}")
    ends = [np.exp(-0.5 * schedule.log_snr(t)) for t in (0.0, t_max) if not is_traced(schedule.log_snr(t))]
    if len(ends) == 2:
        allowed = f"in [{ends[0]:.3g}, {ends[1]:.3g}), sigma / alpha of the schedule at t = 0 and t_max"
        check(lambda x: (x >= ends[0] * (1 - 1e-5)) & (x < ends[1]), allowed, noise_std=noise_std)
    return ModelDensity(
        denoiser=as_pytree(denoiser),
        schedule=schedule,
        noise_std=noise_std,
        t_max=t_max,
        value=as_pytree(value),
        event_shape=tuple(map(int, event_shape)),
        steps=steps,
    )


@checked
def flow_density(
    denoiser: Denoiser,
    schedule: Schedule,
    event_shape: tuple[int, ...],
    noise_std: Positive[float] = 0.01,
    *,
    t_max: PositiveFraction[float] = 1.0,
    steps: PositiveInt = 50,
    key: Key | None = None,
    divergence: DivergenceName = "exact",
    num_probes: PositiveInt = 8,
    rtol: ArrayLike = 1e-5,
    atol: Positive[Number] = 1e-5,
) -> ModelDensity:
    """The density of a model with the exact value, ``log N(x_1; 0, sigma(t_max)^2) + log |det dx_1/dx|``.

    Where the ODE is not solved the value is NaN in ``jax.jit``, which a Hamiltonian sampler counts as a divergence.

    Args:
      denoiser: ``(x_t, t) -> Prediction``, called with a scalar ``t``.
      schedule: the noise schedule of the denoiser, with finite log-SNR at the time of ``noise_std``.
      event_shape: shape of one point, without the batch.
      noise_std: standard deviation of the noise in units of the data, between sigma / alpha at t = 0 and at ``t_max``;
        a larger one gives a smoother density.
      t_max: the largest time; below 1 for networks that predict eps or the score on a schedule with ``alpha(1) = 0``.
      steps: evaluations of the model in :meth:`ModelDensity.sample`.
      key: PRNG key of the probes; None if the divergence is exact.
      divergence: "exact", or an estimate by "rademacher", "gaussian" or "hutch++" probes: the same for every x, so that
        the value is a function, whose error is a function of x too.
      num_probes: number of probes; at least 3 for "hutch++".
      rtol: relative tolerance of a step.
      atol: absolute tolerance of a step.

    Raises:
      RuntimeError: outside of ``jax.jit``, by the value where the ODE is not solved.

    >>> from scorekit import densities, denoisers, schedules
    >>> data, schedule = densities.gaussian(jnp.ones(2), std=0.5), schedules.Cosine()
    >>> exact = flow_density(denoisers.exact_denoiser(data, schedule), schedule, (2,))
    >>> exact.log_density(jnp.ones(2)).round(2), data.log_density(jnp.ones(2)).round(2)
    (Array(-0.45, dtype=float32), Array(-0.45, dtype=float32))
    """
    if divergence != "exact" and key is None:
        raise ValueError(f"key must be a PRNG key for {divergence} probes, got None")
    value = _ByFlow(key=key, rtol=rtol, atol=atol, divergence=divergence, num_probes=num_probes)
    return model_density(value, denoiser, schedule, event_shape, noise_std, t_max=t_max, steps=steps)


@checked
def line_density(
    denoiser: Denoiser,
    schedule: Schedule,
    event_shape: tuple[int, ...],
    noise_std: Positive[float] = 0.01,
    *,
    start: ArrayLike = 0.0,
    num_nodes: PositiveInt = 16,
    t_max: PositiveFraction[float] = 1.0,
    steps: PositiveInt = 50,
) -> ModelDensity:
    """The density of a model up to a constant, ``log p(x) - log p(r) = int_0^1 (x - r)' score(r + s (x - r)) ds``.

    By Gauss-Legendre quadrature: exact where the score is smooth along the line, as between points of one mode; between
    narrow modes it needs many nodes. In high dimensions it is the cheapest value.

    Args:
      denoiser: ``(x_t, t) -> Prediction``, called with a scalar ``t``.
      schedule: the noise schedule of the denoiser, with finite log-SNR at the time of ``noise_std``.
      event_shape: shape of one point, without the batch.
      noise_std: standard deviation of the noise in units of the data, between sigma / alpha at t = 0 and at ``t_max``;
        a larger one gives a smoother density.
      start: the point r, which broadcasts to ``event_shape``: one with high density, near the points of interest.
      num_nodes: number of nodes of the quadrature.
      t_max: the largest time; below 1 for networks that predict eps or the score on a schedule with ``alpha(1) = 0``.
      steps: evaluations of the model in :meth:`ModelDensity.sample`.

    >>> from scorekit import densities, denoisers, schedules
    >>> data, schedule = densities.gaussian(jnp.ones(2), std=0.5), schedules.Cosine()
    >>> density = line_density(denoisers.exact_denoiser(data, schedule), schedule, (2,))
    >>> x = jnp.array([[1.0, 1.0], [0.0, 1.0]])
    >>> jnp.diff(density.log_density(x)).round(2), jnp.diff(data.log_density(x)).round(2)
    (Array([-2.], dtype=float32), Array([-2.], dtype=float32))
    """
    check_finite(start=start)
    check_broadcasts("event_shape", np.empty(event_shape), start=start)
    value = _ByLine(start=jnp.asarray(start, float), num_nodes=num_nodes)
    return model_density(value, denoiser, schedule, event_shape, noise_std, t_max=t_max, steps=steps)


@checked
def score_density(
    denoiser: Denoiser,
    schedule: Schedule,
    event_shape: tuple[int, ...],
    noise_std: Positive[float] = 0.01,
    *,
    t_max: PositiveFraction[float] = 1.0,
    steps: PositiveInt = 50,
) -> ModelDensity:
    """The gradient of a log-density, ``-eps / noise_std``, without a value: NaN, so that nothing uses it.

    Args:
      denoiser: ``(x_t, t) -> Prediction``, called with a scalar ``t``.
      schedule: the noise schedule of the denoiser, with finite log-SNR at the time of ``noise_std``.
      event_shape: shape of one point, without the batch.
      noise_std: standard deviation of the noise in units of the data, between sigma / alpha at t = 0 and at ``t_max``;
        a larger one gives a smoother density.
      t_max: the largest time; below 1 for networks that predict eps or the score on a schedule with ``alpha(1) = 0``.
      steps: evaluations of the model in :meth:`ModelDensity.sample`.

    >>> from scorekit import densities, denoisers, schedules
    >>> denoiser = denoisers.exact_denoiser(densities.gaussian(jnp.ones(2), std=0.5), schedules.Cosine())
    >>> density = score_density(denoiser, schedules.Cosine(), (2,))
    >>> density.log_density(jnp.zeros(2)), jax.grad(density.log_density)(jnp.zeros(2)).round(1)
    (Array(nan, dtype=float32), Array([4., 4.], dtype=float32))
    """
    return model_density(_NoValue(), denoiser, schedule, event_shape, noise_std, t_max=t_max, steps=steps)
