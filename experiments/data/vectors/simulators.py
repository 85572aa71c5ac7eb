"""Tables that a simulator draws: parameters ``theta`` from a prior, and ``x`` given them."""

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import require
from experiments.cli.fields import Text
from experiments.data.vectors.priors import Prior, named_object, prior_of
from experiments.data.vectors.tables import Table
from scorekit import densities
from scorekit.arguments import Between, Count
from scorekit.typing import Array, Key


class Simulator(NamedTuple):
    """A simulator with its prior.

    Attributes:
      prior: distribution of the parameters.
      simulate: ``(key, theta (N, D)) -> x (N, ...)``, or a pair of sets and their masks.
      posterior: ``(key, observations (M, ...), number) -> (number, D)``, exact samples given M independent
        observations; None where they are not known.
    """

    prior: Any
    simulate: Callable[[Key, Array], Any]
    posterior: Callable[[Key, Array, int], Array] | None = None


def _rotated(theta: Array) -> Array:
    """The shift of the moons: ``(-|theta_1 + theta_2|, theta_2 - theta_1) / sqrt(2)``."""
    return jnp.stack([-jnp.abs(theta[..., 0] + theta[..., 1]), theta[..., 1] - theta[..., 0]], axis=-1) / math.sqrt(2)


def _crescent(key: Key, shape: tuple[int, ...]) -> Array:
    for_angle, for_radius = jax.random.split(key)
    angle = math.pi * (jax.random.uniform(for_angle, shape) - 0.5)
    radius = 0.1 + 0.01 * jax.random.normal(for_radius, shape)
    return jnp.stack([radius * jnp.cos(angle) + 0.25, radius * jnp.sin(angle)], axis=-1)


_ROUNDS = 100
"""Rounds of proposals of the posterior of the moons after which one must have been within the prior."""


def _moons_posterior(key: Key, observations: Array, number: int) -> Array:
    """Exact samples given one observation: the crescent is shifted back, on either side with probability 1/2.

    Draws outside the prior are left out, near its corners nearly all.
    """
    assert len(observations) == 1, "the moons of several observations have no closed form"
    samples, rounds = jnp.zeros((0, 2)), 0
    while len(samples) < number:
        if (rounds := rounds + 1) > _ROUNDS and not len(samples):
            raise ValueError(f"observations must be possible, but none of {_ROUNDS} rounds of draws is in the prior")
        key, for_noise, for_side = jax.random.split(key, 3)
        shift = observations[0] - _crescent(for_noise, (4 * number + 100,))
        side = jnp.where(jax.random.bernoulli(for_side, 0.5, shift.shape[:1]), 1.0, -1.0)
        total, difference = -side * shift[:, 0] * math.sqrt(2), shift[:, 1] * math.sqrt(2)
        theta = jnp.stack([total - difference, total + difference], axis=-1) / 2
        fits = (jnp.abs(theta) < 1).all(-1) & (shift[:, 0] < 0)
        samples = jnp.concatenate([samples, theta[fits]])
    return samples[:number]


def two_moons() -> Simulator:
    """Two crescents in the plane, theta uniform in [-1, 1]^2 (Greenberg et al. 2019, https://arxiv.org/abs/1905.07488)."""
    simulate = lambda key, theta: _crescent(key, theta.shape[:-1]) + _rotated(theta)
    return Simulator(densities.uniform(-np.ones(2), np.ones(2)), simulate, _moons_posterior)


def gaussian_linear(dim: int = 10, variance: float = 0.1) -> Simulator:
    """``x = theta + noise`` in ten dimensions, both Gaussian of variance 0.1 (Lueckmann et al. 2021)."""
    std = math.sqrt(variance)

    def posterior(key: Key, observations: Array, number: int) -> Array:
        count = len(observations)
        exact = densities.gaussian(observations.sum(0) / (count + 1), std=std / math.sqrt(count + 1))
        return exact.sample(key, (number,))

    simulate = lambda key, theta: theta + std * jax.random.normal(key, theta.shape)
    return Simulator(densities.gaussian(jnp.zeros(dim), std=std), simulate, posterior)


SIMULATORS: Mapping[str, Callable[[], Simulator]] = {"gaussian_linear": gaussian_linear, "two_moons": two_moons}
"""The simulators with a name; others are ``module:function``."""


class Simulations(Table):
    """Draws of a simulator, always the same: parameters ``theta``, which are the data, and their condition ``x``.

    Args:
      simulator: a name in :data:`SIMULATORS`, or "module:function", a function ``(key, theta (N, D)) -> x``.
      simulations: number of draws.
      prior: distribution of the parameters for a function, as of :class:`Table`; a name has its own.
      bounds: bounds of the parameters, as of :class:`Table`; None is the support of the prior.
      validation: fraction of the draws that is held out; None is a tenth, at most 2000.

    Attributes:
      simulator: the simulator with its prior.
    """

    unit = "simulations"

    def __init__(
        self,
        *,
        simulator: Annotated[str, Text("a name or module:function")],
        simulations: Annotated[int, Count(20, 10**8)] = 10_000,
        prior: Annotated[str, Text("module:name")] | None = None,
        bounds: Annotated[str, Text("bounds of columns")] | None = None,
        validation: Annotated[float, Between(0, 1, "both")] | None = None,
    ):
        known, allowed = simulator in SIMULATORS, f"one of {', '.join(SIMULATORS)}, or module:function with data.prior"
        require(known or ":" in simulator, "data.simulator", simulator, allowed)
        require(known == (prior is None), "data.prior", prior, "set for a simulator of your own alone")
        if prior is None:
            self.simulator = SIMULATORS[simulator]()
        else:
            self.simulator = Simulator(prior_of(prior).given, named_object(simulator, "simulator"))
        self.name, self.prior = simulator, Prior(self.simulator.prior)
        for_theta, for_x = jax.random.split(jax.random.key(0))
        theta = self.prior.sample(for_theta, simulations)
        columns = {"theta": np.asarray(theta), **self.simulate(for_x, theta)}
        self.fill(columns, None, "x", bounds, validation)

    def simulate(self, key: Key, theta: Array) -> dict[str, np.ndarray]:
        """New observations ``x`` of parameters ``(N, D)``, by their names in the table."""
        drawn = self.simulator.simulate(key, theta)
        x, *mask = map(np.asarray, drawn if isinstance(drawn, tuple) else (drawn,))
        if {len(theta)} != {len(array) for array in (x, *mask)}:
            raise ValueError(f"x must have {len(theta)} rows, as many as theta, it has shape {x.shape}")
        return dict(zip(("x", "x_mask"), (x, *mask), strict=False))
