"""Networks trained on the ring by each objective: their samples, and what energies have that scores have not."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.benchmarks.score_matching.objectives import OBJECTIVES, denoising
from experiments.reporting.tables import Cell, Table
from scorekit import densities, samplers, schedules
from scorekit.denoisers import denoiser_from_log_density, denoiser_from_score, score_from_log_density
from scorekit.losses import score_matching as sm
from scorekit.metrics import energy_distance
from scorekit.networks import MLP
from scorekit.trees import expand
from scorekit.typing import Array

SCHEDULE = schedules.cosine()
BATCH, LEARNING_RATE, T_MIN, T_MAX, SAMPLES = 512, 3e-3, 0.02, 0.995, 4000
LEVELS = (0.05, 0.2, 0.5)
"""Times at which log-densities and Jacobians are compared."""


def _output(params: Any, x: Array, t: Array) -> Array:
    return jnp.asarray(MLP(features=64).apply(params, x, 0.25 * SCHEDULE.log_snr(jnp.broadcast_to(t, x.shape[:1]))))


def score(params: Any, x: Array, t: Array) -> Array:
    """A network of the noise, ``s = -eps(x, t) / sigma``."""
    return -_output(params, x, t) / expand(SCHEDULE.sigma(t), x)


def log_density(params: Any, x: Array, t: Array) -> Array:
    """An energy: ``f = -x . h(x, t) / (2 sigma)``, so that its gradient is as large as a score."""
    return -0.5 * jnp.sum(x * _output(params, x, t), axis=-1) / SCHEDULE.sigma(t)


def _differences(key, score, log_density, x, std):
    """FD-DSM with the noise level of each example: in units of the noise, of which the standard deviation is 1."""
    scaled = lambda y: log_density(std * y)
    return sm.finite_difference_denoising_loss(key, scaled, x / std, 1.0, step=0.1) / std[:, 0] ** 2


RUNS: dict[str, tuple[bool, Callable]] = {
    "score, denoising": (False, denoising),
    "score, implicit": (False, OBJECTIVES["implicit, exact divergence"]),
    "score, sliced, reduced variance": (False, OBJECTIVES["sliced, reduced variance"]),
    "score, sliced": (False, OBJECTIVES["sliced"]),
    "energy, denoising": (True, denoising),
    "energy, FD-DSM": (True, _differences),
}
"""Whether the network is an energy, and its objective, as in :data:`.objectives.OBJECTIVES`."""


def train(name: str, seeds: int, steps: int) -> list[Any]:
    """Parameters of every seed after ``steps`` of a batch of the ring at random times, losses weighted by sigma^2."""
    is_energy, objective = RUNS[name]
    optimizer, data = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, steps)), densities.ring()

    def loss(params, key):
        for_data, for_times, for_loss = jax.random.split(key, 3)
        x0 = data.sample(for_data, (BATCH,))
        t = T_MIN + (T_MAX - T_MIN) * (jnp.arange(BATCH) + jax.random.uniform(for_times)) / BATCH
        f = lambda x: log_density(params, x, t)
        s = score_from_log_density(f) if is_energy else lambda x: score(params, x, t)
        alpha, sigma = (expand(c(t), x0) for c in (SCHEDULE.alpha, SCHEDULE.sigma))
        return jnp.mean(SCHEDULE.sigma(t) ** 2 * objective(for_loss, s, f, alpha * x0, sigma))

    @jax.jit
    def fit(key):
        def step(carry, key):
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss)(params, key), state)
            return (optax.apply_updates(params, updates), state), None

        for_params, for_steps = jax.random.split(key)
        params = MLP(features=64).init(for_params, jnp.zeros((1, 2)), jnp.zeros(1))
        return jax.lax.scan(step, (params, optimizer.init(params)), jax.random.split(for_steps, steps))[0][0]

    return [fit(jax.random.key(seed)) for seed in range(seeds)]


def measure(name: str, trained: list[Any]) -> list[dict[str, float]]:
    """Energy distance of samples; the antisymmetric part of the Jacobian of the score; of energies log-densities.

    The log-density is compared with the exact one of the noisy data, on samples of it: the correlation, and the root
    mean square of the difference after its mean is taken away, in nats.
    """
    solver, ts = samplers.recommended(SCHEDULE, 50, t_max=T_MAX, t_min=T_MIN)
    is_energy, _ = RUNS[name]
    make, network = (denoiser_from_log_density, log_density) if is_energy else (denoiser_from_score, score)
    at = lambda t: densities.ring().marginal(SCHEDULE.alpha(t), SCHEDULE.sigma(t))

    @jax.jit
    def compare(key, params):
        for_sampler, for_start, for_data, *for_levels = jax.random.split(key, 3 + len(LEVELS))
        draw = lambda key, t: at(t).sample(key, (SAMPLES,))
        denoise = make(functools.partial(network, params), SCHEDULE)
        drawn = samplers.sample(for_sampler, denoise, SCHEDULE, solver, draw(for_start, T_MAX), ts)
        found = {"energy distance": energy_distance(drawn, draw(for_data, T_MIN))}
        for key, t in zip(for_levels, LEVELS, strict=True):
            x = draw(key, t)
            jacobian = jax.vmap(jax.jacfwd(lambda x, t=t: denoise(x[None], jnp.asarray(t)).eps[0]))(x[:500])
            size = lambda j: jnp.linalg.norm(j, axis=(1, 2))
            curl = size(jacobian - jacobian.swapaxes(1, 2)) / (2 * size(jacobian))
            found[f"antisymmetry, t = {t:g}"] = jnp.mean(curl)
            if is_energy:
                ours, truth = log_density(params, x, jnp.asarray(t)), at(t).log_density(x)
                found[f"correlation, t = {t:g}"] = jnp.corrcoef(ours, truth)[0, 1]
                found[f"RMSE, t = {t:g}"] = jnp.std(ours - truth)
        return found

    return [jax.tree.map(float, compare(jax.random.key(seed), params)) for seed, params in enumerate(trained)]


def table(found: dict[str, list[dict[str, float]]], steps: int) -> Table:
    """A row for each run, with the standard deviation over seeds."""
    names = list(dict.fromkeys(name for rows in found.values() for row in rows for name in row))
    cell = lambda v: f"{np.mean(v):.3g} ± {np.std(v):.2g}" if len(v) else ""
    row = lambda each: [cell([one[name] for one in each if name in one]) for name in names]
    rows: list[list[Cell]] = [[run, *row(each)] for run, each in found.items()]
    caption = (
        f"The ring after {steps:,} steps, mean ± deviation over seeds. Antisymmetry is |J - J'| / 2 |J| of the score; "
        "correlation and RMSE (nats) are of the log-density of noisy data, up to a constant."
    )
    return Table(["network and objective", *names], rows, caption)
