"""Denoisers of Lévy signals: the best linear one, and a small network for the rest.

``x0(x_t) = W x_t + c F(increments of W x_t, log noise)`` with W the denoiser of Gaussian signals of the same
covariance and c the root mean square of its error, so that the network F learns what is not Gaussian.
"""

from pathlib import Path

import flax.linen as nn
import flax.serialization
import jax
import jax.numpy as jnp
import optax

from experiments.cli.progress import Progress
from experiments.projects.posteriors.levy import LevySignals
from scorekit import densities
from scorekit.io import write_atomic
from scorekit.networks import fourier_features
from scorekit.predictions import with_x0
from scorekit.trees import pytree_dataclass
from scorekit.typing import Array, Prediction, PyTree, Schedule

LOWEST, HIGHEST = 2e-3, 20.0
"""Noise levels sigma / alpha of the training."""


class _Rest(nn.Module):
    """F: a perceptron, whose layers the noise level, one for the batch, scales and shifts."""

    width: int = 256

    @nn.compact
    def __call__(self, x: Array, level: Array) -> Array:
        features = nn.silu(nn.Dense(64)(fourier_features(0.5 * jnp.log(level), 32)))
        for _ in range(2):
            scale, shift = jnp.split(nn.Dense(2 * self.width)(features), 2)
            x = nn.silu(nn.Dense(self.width)(x) * (1.0 + scale) + shift)
        return nn.Dense(64, kernel_init=nn.initializers.zeros)(x)


@pytree_dataclass
class LevyDenoiser:
    """The denoiser of these signals with trained parameters; times are scalars."""

    params: PyTree
    linear: densities.Gaussian
    std: float
    schedule: Schedule

    def __call__(self, x_t: Array, t: Array) -> Prediction:
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        wiener = self.linear.predict(x_t, alpha, sigma)
        level = jnp.clip(sigma / alpha, LOWEST, HIGHEST)
        c = jnp.sqrt(_linear_error(self.linear, level))
        d = jnp.diff(wiener.x0, prepend=0.0)
        rest = _Rest().apply(self.params, jnp.concatenate([d / self.std, jnp.arcsinh(d / level)], -1), level)
        return with_x0(wiener, wiener.x0 + c * rest, t, self.schedule)


def _linear_error(linear: densities.Gaussian, level: Array) -> Array:
    """The mean square of the error of the linear denoiser."""
    return jnp.mean(linear.variances * level**2 / (linear.variances + level**2))


def trained(path: Path, signals: LevySignals, schedule: Schedule, steps: int, seed: int = 0) -> LevyDenoiser:
    """The denoiser saved at ``path``, or else a new one, trained on fresh signals."""
    linear = densities.gaussian(jnp.zeros(signals.dim), covariance=signals.covariance())
    start = _Rest().init(jax.random.key(seed), jnp.zeros((1, 2 * signals.dim)), jnp.ones(()))
    of = lambda params: LevyDenoiser(params=params, linear=linear, std=float(signals.std), schedule=schedule)
    if path.exists():
        return of(flax.serialization.from_bytes(start, path.read_bytes()))
    optimizer, size, chunk = optax.adam(optax.cosine_decay_schedule(2e-3, steps)), (16, 64), 100

    def loss(params, key):
        for_signals, for_levels, for_noise = jax.random.split(key, 3)
        x0, eps = signals.sample(for_signals, size), jax.random.normal(for_noise, (*size, signals.dim))
        part = (jnp.arange(size[0]) + jax.random.uniform(for_levels)) / size[0]
        levels = LOWEST * (HIGHEST / LOWEST) ** part

        def one(x0, eps, level):
            t = schedule.time_at(-2.0 * jnp.log(level))
            x_t = schedule.alpha(t) * x0 + schedule.sigma(t) * eps
            return jnp.mean(jnp.square(of(params)(x_t, t).x0 - x0)) / _linear_error(linear, level)

        return jnp.mean(jax.vmap(one)(x0, eps, levels))

    @jax.jit
    def update(carry, key):
        def body(carry, key):
            params, state = carry
            value, gradient = jax.value_and_grad(loss)(params, key)
            change, state = optimizer.update(gradient, state)
            return (optax.apply_updates(params, change), state), value

        return jax.lax.scan(body, carry, jax.random.split(key, chunk))

    carry = start, optimizer.init(start)
    with Progress(max(steps // chunk, 1), batch_size=chunk, label=path.stem) as bar:
        for i in range(max(steps // chunk, 1)):
            carry, values = update(carry, jax.random.fold_in(jax.random.key(seed), i))
            bar.update(i + 1, loss=float(values.mean()))
    write_atomic(path, flax.serialization.to_bytes(carry[0]))
    return of(carry[0])
