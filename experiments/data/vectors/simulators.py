"""Tables that a simulator draws: parameters ``theta`` from a prior, and ``x`` given them."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import require
from experiments.data.vectors.priors import Prior, named_object, prior_of
from experiments.data.vectors.tables import Table
from scorekit import densities
from scorekit.typing import Array, Key

SIMULATIONS = 10_000


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
    angle, radius = (
        f(k, shape) for f, k in zip((jax.random.uniform, jax.random.normal), jax.random.split(key), strict=True)
    )
    angle, radius = math.pi * (angle - 0.5), 0.1 + 0.01 * radius
    return jnp.stack([radius * jnp.cos(angle) + 0.25, radius * jnp.sin(angle)], axis=-1)


_ROUNDS = 100
"""Rounds of proposals of the posterior of the moons after which one must have been within the prior."""


def _moons_posterior(key: Key, observations: Array, number: int) -> Array:
    """Exact samples given one observation: the crescent is shifted back, on either side with probability 1/2.

    Draws outside the prior are left out, near its corners nearly all.
    """
    assert len(observations) == 1, "the moons of several observations have no closed form"
    found, rounds = jnp.zeros((0, 2)), 0
    while len(found) < number:
        if (rounds := rounds + 1) > _ROUNDS and not len(found):
            raise ValueError(f"observations must be possible, but none of {_ROUNDS} rounds of draws is in the prior")
        key, for_noise, for_side = jax.random.split(key, 3)
        shift = observations[0] - _crescent(for_noise, (4 * number + 100,))
        side = jnp.where(jax.random.bernoulli(for_side, 0.5, shift.shape[:1]), 1.0, -1.0)
        total, difference = -side * shift[:, 0] * math.sqrt(2), shift[:, 1] * math.sqrt(2)
        theta = jnp.stack([total - difference, total + difference], axis=-1) / 2
        fits = (jnp.abs(theta) < 1).all(-1) & (shift[:, 0] < 0)
        found = jnp.concatenate([found, theta[fits]])
    return found[:number]


def two_moons() -> Simulator:
    """Two crescents in the plane, theta uniform in [-1, 1]^2 (Greenberg et al. 2019, https://arxiv.org/abs/1905.07488)."""
    simulate = lambda key, theta: _crescent(key, theta.shape[:-1]) + _rotated(theta)
    return Simulator(densities.uniform(-np.ones(2), np.ones(2)), simulate, _moons_posterior)


def gaussian_linear(dim: int = 10, variance: float = 0.1) -> Simulator:
    """``x = theta + noise`` in ten dimensions, both Gaussian of variance 0.1 (Lueckmann et al. 2021)."""
    std = math.sqrt(variance)

    def posterior(key: Key, observations: Array, number: int) -> Array:
        count = len(observations)
        found = densities.gaussian(observations.sum(0) / (count + 1), std=std / math.sqrt(count + 1))
        return found.sample(key, (number,))

    simulate = lambda key, theta: theta + std * jax.random.normal(key, theta.shape)
    return Simulator(densities.gaussian(jnp.zeros(dim), std=std), simulate, posterior)


SIMULATORS: Mapping[str, Callable[[], Simulator]] = {"gaussian_linear": gaussian_linear, "two_moons": two_moons}
"""The simulators with a name; others are ``module:function``."""
OF_SEVERAL = ("gaussian_linear",)
"""Those with exact posteriors of several observations; the others have them of one at most."""


class Simulations(Table):
    """``config.data.simulations`` draws of the simulator ``config.data.simulator``, always the same.

    A user's simulator ``module:function`` is called as ``(key, theta (N, D)) -> x``, with the prior
    ``config.data.prior``.
    """

    file_fields = ("sample_rate", "channels")
    image_fields = (*Table.image_fields, "path")
    default_condition = "x"
    unit = "simulations"

    def _read(self, config) -> dict[str, np.ndarray]:
        options, name = config.data, config.data.simulator
        if name in SIMULATORS:
            self.simulator = SIMULATORS[name]()
        else:
            self.simulator = Simulator(prior_of(config).given, named_object(name, "data.simulator"))
        self.name, self.prior = name, Prior(self.simulator.prior)
        for_theta, for_x = jax.random.split(jax.random.key(0))
        theta = self.prior.sample(for_theta, options.simulations or SIMULATIONS)
        return {"theta": np.asarray(theta), **self.simulate(for_x, theta)}

    def simulate(self, key: Key, theta: Array) -> dict[str, np.ndarray]:
        """New observations ``x`` of parameters ``(N, D)``, by their names in the table."""
        found = self.simulator.simulate(key, theta)
        names = ("x", "x_mask") if isinstance(found, tuple) else ("x",)
        arrays = [np.asarray(one) for one in (found if isinstance(found, tuple) else (found,))]
        if {len(one) for one in arrays} != {len(theta)}:
            raise ValueError(f"x must have {len(theta)} rows, as many as theta, it has shape {arrays[0].shape}")
        return dict(zip(names, arrays, strict=True))

    @classmethod
    def check_source(cls, options):
        require(options.name == "simulator", "data.name", options.name, "simulator, without a suffix")
        name, prior = options.simulator, options.prior
        allowed = f"one of {', '.join(SIMULATORS)}, or module:function with data.prior"
        require(name is not None and (name in SIMULATORS or ":" in name), "data.simulator", name, allowed)
        require((name in SIMULATORS) == (prior is None), "data.prior", prior, "set for a simulator of your own alone")
        for field in ("x", "condition"):
            require(
                options[field] is None, f"data.{field}", options[field], "None: parameters are theta, observations x"
            )
